import { BlockList, isIPv6 } from 'node:net'
import { networkInterfaces, type NetworkInterfaceInfo } from 'node:os'

/**
 * What a network is for, as far as can be told from its interface: `lan` = other hosts on a wire or a radio; `vpn` = a
 * tunnel; `bridge` = containers and virtual machines of this host; `loopback` = this host alone.
 */
export type NetworkKind = 'lan' | 'vpn' | 'bridge' | 'loopback'

/** One address of this host and the network it is in. */
export interface HostNetwork {
  readonly interface: string
  readonly address: string
  readonly family: 4 | 6
  readonly mac: string
  readonly kind: NetworkKind
  /** Whether the network has the address. False for what is no address. */
  includes(address: string): boolean
}

/** What the operating system lists: interfaces that are up, with their addresses. */
export type Interfaces = Readonly<Record<string, readonly NetworkInterfaceInfo[] | undefined>>

/** Networks that Docker, Podman, libvirt, LXD, Kubernetes and desktop hypervisors make for what runs inside this host. */
const BRIDGE =
  /^(docker|br-[0-9a-f]{8,}|podman|cni|flannel|cali|virbr|vnet|lxcbr|lxdbr|incusbr|vmnet|vboxnet|vethernet|bridge1\d\d)/i

/** Tunnels of WireGuard, OpenVPN, Tailscale, ZeroTier, IPsec, PPP and their kind. */
const TUNNEL = /^(tun|tap|wg|tailscale|ts\d|zt|utun|ipsec|ppp|l2tp|gre|sit|nordlynx|proton)/i

const NO_MAC = '00:00:00:00:00:00'

export function hostNetworks(interfaces: Interfaces = networkInterfaces()): readonly HostNetwork[] {
  return Object.entries(interfaces).flatMap(([name, addresses = []]) => addresses.map((info) => toNetwork(name, info)))
}

/** What the interface with this address is for. A tunnel shows by its name, by having no hardware, or by being alone in its network. */
export function kindOf(name: string, { internal, mac, netmask, family }: NetworkInterfaceInfo): NetworkKind {
  if (internal) return 'loopback'
  if (BRIDGE.test(name)) return 'bridge'
  const isAlone = family === 'IPv4' && netmask === '255.255.255.255'
  return TUNNEL.test(name) || mac === NO_MAC || isAlone ? 'vpn' : 'lan'
}

/** Before all else the wire, then what only a router knows the way to, then tunnels, then what is inside a host. */
const RANK = { lan: 0, routed: 1, vpn: 2, bridge: 3, loopback: 4 } as const

/** How promising it is to reach `address` from here: 0 is best. */
export function rankOf(address: string, networks: readonly HostNetwork[]): number {
  const ranks = networks.filter((network) => network.includes(address)).map(({ kind }) => RANK[kind])
  return ranks.length === 0 ? RANK.routed : Math.min(...ranks)
}

/** The addresses of this host in the order in which others should try them; equal ones keep theirs. */
export function byKind<T extends { readonly kind: NetworkKind }>(networks: readonly T[]): T[] {
  return networks.toSorted((one, other) => RANK[one.kind] - RANK[other.kind])
}

/** Whether the address means something only together with an interface: `fe80::/10`. */
export function isLinkLocalV6(address: string): boolean {
  return /^fe[89ab]/i.test(address)
}

function toNetwork(name: string, info: NetworkInterfaceInfo): HostNetwork {
  const { address, mac, cidr } = info
  const family = info.family === 'IPv4' ? 4 : 6
  const members = new BlockList()
  const prefix = Number(cidr?.split('/')[1] ?? (family === 4 ? 32 : 128))
  members.addSubnet(address, prefix, family === 4 ? 'ipv4' : 'ipv6')
  return {
    interface: name,
    address,
    family,
    mac,
    kind: kindOf(name, info),
    includes(other) {
      try {
        return members.check(other.replace(/%.*$/, ''), isIPv6(other) ? 'ipv6' : 'ipv4')
      } catch {
        return false
      }
    },
  }
}
