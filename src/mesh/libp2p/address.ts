import { isIPv4, isIPv6 } from 'node:net'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { HsuError } from '../../base/error.ts'
import { type HostNetwork, isLinkLocalV6, rankOf } from '../../base/host-networks.ts'

/** Where something listens: an IP address or a name, and a TCP port. */
export interface HostPort {
  readonly host: string
  readonly port: number
}

/** How many addresses of one peer are kept; the oldest make room. */
export const MAX_ADDRESSES = 12

/** Reads `host:port` or `[ipv6]:port`. @throws HsuError CONFIG_INVALID */
export function parseHostPort(text: string): HostPort {
  const match = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(text)
  const host = match?.[1] ?? match?.[2]
  const port = Number(match?.[3])
  if (host === undefined || port > 65_535) {
    throw new HsuError('CONFIG_INVALID', `'${text}' is not an address; write host:port, such as 10.0.0.5:9471`, {
      details: { address: text },
    })
  }
  return { host: host === '' ? '0.0.0.0' : host, port }
}

/** `10.0.0.5:9471`, `[fd00::5]:9471`. */
export function formatHostPort({ host, port }: HostPort): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`
}

/** The multiaddress of an IP address and port. */
export function toMultiaddr({ host, port }: HostPort): string {
  return `/${isIPv6(host) ? 'ip6' : 'ip4'}/${host}/tcp/${port}`
}

/** IP address and port of a multiaddress; undefined when it has none of these. */
export function hostPortOf(address: Multiaddr): HostPort | undefined {
  let host: string | undefined
  let port: number | undefined
  for (const { name, value } of address.getComponents()) {
    if (name === 'ip4' || name === 'ip6') host = value
    if (name === 'tcp') port = Number(value)
  }
  return host === undefined || port === undefined ? undefined : { host, port }
}

/** What libp2p is told to listen on. The IPv4 wildcard means IPv6 too; where there is no IPv6, libp2p goes on without. */
export function listenAddresses({ host, port }: HostPort): string[] {
  if (host === '0.0.0.0' || host === '::') return [`/ip4/0.0.0.0/tcp/${port}`, `/ip6/::/tcp/${port}`]
  return [toMultiaddr({ host, port })]
}

/** The plain form `/ip4/A/tcp/P` of what others say is an address of a peer; undefined when it is none that we can dial. */
export function plainAddress(text: string): string | undefined {
  try {
    const at = hostPortOf(multiaddr(text))
    const dialable = at !== undefined && at.port > 0 && at.port < 65_536 && (isIPv4(at.host) || isIPv6(at.host))
    return dialable ? toMultiaddr(at) : undefined
  } catch {
    return undefined
  }
}

/** The IP address in a plain address. */
export function hostOf(plain: string): string {
  return plain.split('/')[2] ?? ''
}

/** Whether only this machine can reach the address. */
export function isLoopback(address: string): boolean {
  return address.startsWith('/ip4/127.') || address.startsWith('/ip6/::1/')
}

/**
 * Addresses worth telling to others, those of the LAN before those of tunnels and bridges. Loopback only when there is
 * nothing else. IPv6 link-local ones lack their zone.
 */
export function announcedAddresses(listening: readonly string[], networks: readonly HostNetwork[] = []): string[] {
  const usable = listening.filter((address) => !isLinkLocalV6(hostOf(address)))
  const outside = usable.filter((address) => !isLoopback(address))
  const told = outside.length > 0 ? outside : usable
  return told
    .map((address) => ({ address, rank: rankOf(hostOf(address), networks) }))
    .toSorted((one, other) => one.rank - other.rank)
    .map(({ address }) => address)
}

/** `fresh` before `known`, each once, at most `MAX_ADDRESSES`; the very array `known` when nothing changes. */
export function mergeAddresses(known: readonly string[], fresh: readonly string[]): readonly string[] {
  const merged = [...new Set([...fresh, ...known])].slice(0, MAX_ADDRESSES)
  const same = merged.length === known.length && merged.every((address, index) => address === known[index])
  return same ? known : merged
}
