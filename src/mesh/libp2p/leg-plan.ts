import { type HostNetwork, isLinkLocalV6 } from '../../base/host-networks.ts'

/** One address of an interface, on which discovery listens and speaks; over IPv6 one for all addresses of the interface. */
export interface Leg {
  /** Changes when the interface, its address or its hardware does. */
  readonly key: string
  readonly interface: string
  readonly family: 4 | 6
  /** What others can reach through this leg. */
  readonly addresses: readonly string[]
  /** Whether a packet from there was sent by this host through this leg. */
  isOwn(source: string): boolean
  /** Whether a packet from there came over the network of this leg, as far as its address tells. */
  includes(source: string): boolean
}

export interface LegPlan {
  readonly open: readonly Leg[]
  /** Keys of legs whose interface or address is gone. */
  readonly close: readonly string[]
}

/**
 * The legs to have. Over IPv6 an interface needs an address that means something on another host: one that is link-local
 * only would be of no use to those who hear of it.
 *
 * @param wanted names or addresses of interfaces; empty = every one that leaves the machine. Loopback only by name.
 */
export function usableLegs(networks: readonly HostNetwork[], wanted: readonly string[]): Leg[] {
  const usable = chosenOf(networks, wanted).filter(({ address }) => !isLinkLocalV6(address))
  const v4 = usable.filter(({ family }) => family === 4).map(legV4)
  // The system's IPv6 loopback takes no part in multicast.
  const v6 = usable.filter(({ family, kind }) => family === 6 && kind !== 'loopback')
  const names = [...new Set(v6.map((network) => network.interface))]
  return [...v4, ...names.map((name) => legV6(name, networks))]
}

function chosenOf(networks: readonly HostNetwork[], wanted: readonly string[]): readonly HostNetwork[] {
  return networks.filter(({ kind, interface: name, address }) =>
    wanted.length === 0 ? kind !== 'loopback' : wanted.includes(name) || wanted.includes(address),
  )
}

/** A network on which there is no leg, though a person may expect one. */
export interface LegGap {
  readonly where: string
  /** Why, in words. */
  readonly why: string
}

/** What `usableLegs` had to leave out, for people. */
export function legGaps(networks: readonly HostNetwork[], wanted: readonly string[]): readonly LegGap[] {
  const absent = wanted.filter((name) => !networks.some((own) => own.interface === name || own.address === name))
  const gaps = absent.map((where) => ({ where, why: 'this host has no interface or address of that name that is up' }))
  const chosen = chosenOf(networks, wanted)
  if (wanted.length === 0 && chosen.length === 0) {
    return [{ where: 'all interfaces', why: 'this host is on no network: its interfaces are down or have no address' }]
  }
  const legs = usableLegs(networks, wanted)
  const bare = chosen.filter(({ interface: name }) => !legs.some((leg) => leg.interface === name))
  const why =
    'has a link-local IPv6 address alone, which means nothing to other hosts; give it an IPv4 or another IPv6 one'
  const local = bare.filter(({ address }) => isLinkLocalV6(address))
  return [...gaps, ...local.map(({ interface: name, address }) => ({ where: `${name} (${address})`, why }))]
}

function legV4(network: HostNetwork): Leg {
  const { interface: name, address, mac } = network
  return {
    key: `${name}|${address}|${mac}`,
    interface: name,
    family: 4,
    addresses: [address],
    isOwn: (source) => source === address,
    includes: (source) => network.includes(source),
  }
}

function legV6(name: string, networks: readonly HostNetwork[]): Leg {
  const own = networks.filter((network) => network.interface === name && network.family === 6)
  const addresses = own.map(({ address }) => address).filter((address) => !isLinkLocalV6(address))
  return {
    key: `${name}|6|${addresses.join(' ')}|${own[0]?.mac ?? ''}`,
    interface: name,
    family: 6,
    addresses,
    // What is sent to a link-local group comes from the link-local address, which is none of `addresses`.
    isOwn: (source) => own.some(({ address }) => source === address || source === `${address}%${name}`),
    // Link-local sources name their interface: fe80::1%eth0.
    includes: (source) =>
      source.includes('%') ? source.endsWith(`%${name}`) : own.some((network) => network.includes(source)),
  }
}

/** What to open and close so that the open legs are the usable ones. */
export function planLegs(usable: readonly Leg[], open: ReadonlySet<string>): LegPlan {
  const keys = new Set(usable.map(({ key }) => key))
  return { open: usable.filter(({ key }) => !open.has(key)), close: [...open].filter((key) => !keys.has(key)) }
}

/**
 * Whether a packet from `source` is for `leg`. Every socket on the port hears every interface (Linux, IP_MULTICAST_ALL),
 * so a packet is taken by the leg whose network it comes from, and by all legs when it comes from none of theirs.
 */
export function isForLeg(source: string, leg: Leg, legs: readonly Leg[]): boolean {
  return leg.includes(source) || !legs.some((other) => other.family === leg.family && other.includes(source))
}

/** When to ask next after `asked` questions: each second while the mesh forms, then more rarely (RFC 6762, section 5.2). */
export function queryIntervalMs(asked: number): number {
  if (asked < FAST_QUERIES) return 1_000
  return asked < SLOW_QUERIES ? 10_000 : 30_000
}

const FAST_QUERIES = 6
const SLOW_QUERIES = 12
