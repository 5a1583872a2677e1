/** A network address of this host. */
export interface HostAddress {
  /** Name of the interface. */
  readonly name: string
  readonly address: string
  readonly internal: boolean
}

/**
 * Where other nodes reach the link port of this one, best first. A port bound to one address is reached there; one bound to
 * all is reached at each address of the interfaces that the mesh uses (`interfaces`, by name or address; undefined = all but loopback).
 */
export function linkAddresses(
  bound: { readonly host: string; readonly port: number },
  host: readonly HostAddress[],
  interfaces: readonly string[] | undefined,
): string[] {
  if (bound.host !== '0.0.0.0' && bound.host !== '::') return [hostPort(bound.host, bound.port)]
  const used = host.filter(({ name, address, internal }) =>
    interfaces === undefined ? !internal : interfaces.includes(name) || interfaces.includes(address),
  )
  const reachable = used.filter(({ address }) => (bound.host === '::' || isV4(address)) && !isLinkLocalV6(address))
  const ordered = [
    ...reachable.filter(({ address }) => isV4(address)),
    ...reachable.filter(({ address }) => !isV4(address)),
  ]
  return ordered.map(({ address }) => hostPort(address, bound.port))
}

/** Splits `host:port` or `[v6]:port`. */
export function splitHostPort(text: string): { readonly host: string; readonly port: number } {
  const at = text.lastIndexOf(':')
  return { host: text.slice(0, at).replace(/^\[|\]$/g, ''), port: Number(text.slice(at + 1)) }
}

export function hostPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

function isV4(address: string): boolean {
  return !address.includes(':')
}

/** fe80::/10 means something only together with an interface, which an address in a record cannot name. */
function isLinkLocalV6(address: string): boolean {
  return /^fe[89ab]/i.test(address)
}
