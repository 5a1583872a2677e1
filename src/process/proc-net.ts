import type { Listener } from './process-table.ts'

/** A listening socket as `/proc/net` shows it; its owners are found by the inode. */
export interface ProcSocket extends Omit<Listener, 'pids' | 'hidden'> {
  readonly inode: string
}

/** `TCP_LISTEN` of include/net/tcp_states.h. */
const LISTEN = '0A'
/** `TCP_CLOSE`: a udp socket that is bound and not connected to one peer. */
const UNCONNECTED = '07'

/** The listening sockets in the text of `/proc/net/{tcp,tcp6,udp,udp6}` (proc_pid_net(5)). */
export function parseProcNet(protocol: 'tcp' | 'udp', text: string, endianness: 'LE' | 'BE'): ProcSocket[] {
  const wanted = protocol === 'tcp' ? LISTEN : UNCONNECTED
  const sockets: ProcSocket[] = []
  for (const line of text.split('\n').slice(1)) {
    const [, local, , state, , , , , , inode] = line.trim().split(/\s+/)
    if (local === undefined || inode === undefined || state !== wanted) continue
    const [address = '', port = ''] = local.split(':')
    sockets.push({ protocol, address: formatAddress(address, endianness), port: Number.parseInt(port, 16), inode })
  }
  return sockets
}

/** The kernel prints an address as 32-bit words in the byte order of the machine. */
function formatAddress(hex: string, endianness: 'LE' | 'BE'): string {
  const bytes = Buffer.from(hex, 'hex')
  if (endianness === 'LE') bytes.swap32()
  if (bytes.length === 4) return bytes.join('.')
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(2 * index).toString(16))
  // A URL shortens an IPv6 address as RFC 5952 wants it.
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1)
}
