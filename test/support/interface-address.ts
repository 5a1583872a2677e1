import { isIPv4 } from 'node:net'
import type { NetworkInterfaceInfo } from 'node:os'

/** An address as `os.networkInterfaces()` lists it, from its CIDR form: `10.0.0.5/24`. */
export function interfaceAddress(cidr: string, more: { internal?: boolean; mac?: string } = {}): NetworkInterfaceInfo {
  const [address = '', prefix = '32'] = cidr.split('/')
  const common = { address, cidr, mac: more.mac ?? '02:00:00:00:00:01', internal: more.internal ?? false }
  if (!isIPv4(address)) return { ...common, family: 'IPv6', netmask: 'ffff:ffff:ffff:ffff::', scopeid: 2 }
  const bits = (2 ** 32 - 2 ** (32 - Number(prefix))) >>> 0
  const netmask = [24, 16, 8, 0].map((shift) => (bits >>> shift) & 255).join('.')
  return { ...common, family: 'IPv4', netmask }
}
