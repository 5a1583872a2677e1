import type { NetworkInterfaceInfo } from 'node:os'

/** One IPv4 address of an interface, on which discovery listens and speaks. */
export interface Leg {
  /** Changes when the interface, its address or its hardware does. */
  readonly key: string
  readonly interface: string
  readonly address: string
  readonly netmask: string
}

export interface LegPlan {
  readonly open: readonly Leg[]
  /** Keys of legs whose interface or address is gone. */
  readonly close: readonly string[]
}

type Interfaces = Readonly<Record<string, readonly NetworkInterfaceInfo[] | undefined>>

/**
 * The legs to have, of all addresses that the operating system lists (it lists only interfaces that are up).
 *
 * @param wanted names or addresses of interfaces; empty = every one that leaves the machine. Loopback only by name.
 */
export function usableLegs(interfaces: Interfaces, wanted: readonly string[]): Leg[] {
  const legs: Leg[] = []
  for (const [name, addresses = []] of Object.entries(interfaces)) {
    for (const { family, address, netmask, mac, internal } of addresses) {
      const chosen = wanted.length === 0 ? !internal : wanted.includes(name) || wanted.includes(address)
      if (family !== 'IPv4' || !chosen) continue
      legs.push({ key: `${name}|${address}|${mac}`, interface: name, address, netmask })
    }
  }
  return legs
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
  return inNetwork(source, leg) || !legs.some((other) => inNetwork(source, other))
}

/** When to ask next after `asked` questions: each second while the mesh forms, then rarely (RFC 6762, section 5.2). */
export function queryIntervalMs(asked: number): number {
  return asked < FAST_QUERIES ? 1_000 : 10_000
}

const FAST_QUERIES = 6

function inNetwork(address: string, { address: own, netmask }: Leg): boolean {
  const mask = toNumber(netmask)
  return (toNumber(address) & mask) === (toNumber(own) & mask)
}

function toNumber(ipv4: string): number {
  return ipv4.split('.').reduce((number, part) => (number << 8) | Number(part), 0)
}
