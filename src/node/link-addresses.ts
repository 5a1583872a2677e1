import { byKind, type HostNetwork, isLinkLocalV6 } from '../base/host-networks.ts'

/**
 * Where other nodes reach the link port of this one, best first. A port bound to one address is reached there; one bound to
 * all is reached at each address of the interfaces that the mesh uses (`interfaces`, by name or address; undefined = all
 * but loopback), those of the LAN before those of tunnels and bridges, IPv4 before IPv6.
 */
export function linkAddresses(
  bound: { readonly host: string; readonly port: number },
  networks: readonly HostNetwork[],
  interfaces: readonly string[] | undefined,
): string[] {
  if (bound.host !== '0.0.0.0' && bound.host !== '::') return [hostPort(bound.host, bound.port)]
  const used = networks.filter((network) =>
    interfaces === undefined
      ? network.kind !== 'loopback'
      : interfaces.includes(network.interface) || interfaces.includes(network.address),
  )
  const reachable = used.filter(
    ({ address, family }) => (bound.host === '::' || family === 4) && !isLinkLocalV6(address),
  )
  return byKind(reachable.toSorted((one, other) => one.family - other.family)).map(({ address }) =>
    hostPort(address, bound.port),
  )
}

/** Splits `host:port` or `[v6]:port`. */
export function splitHostPort(text: string): { readonly host: string; readonly port: number } {
  const at = text.lastIndexOf(':')
  return { host: text.slice(0, at).replace(/^\[|\]$/g, ''), port: Number(text.slice(at + 1)) }
}

export function hostPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
