/** One end of an established TCP connection, as `/proc/net/tcp` and `tcp6` show it. */
interface ConnectionEnd {
  readonly localPort: number
  readonly remotePort: number
  readonly inode: string
}

/** `TCP_ESTABLISHED` of include/net/tcp_states.h. */
const ESTABLISHED = '01'

/** The established connections in the text of `/proc/net/tcp` or `tcp6` (proc_pid_net(5)) that have one of `ports` at an end. */
export function parseConnections(text: string, ports: ReadonlySet<number>): readonly ConnectionEnd[] {
  const ends: ConnectionEnd[] = []
  for (const line of text.split('\n').slice(1)) {
    const [, local, remote, state, , , , , , inode] = line.trim().split(/\s+/)
    if (local === undefined || remote === undefined || inode === undefined || state !== ESTABLISHED) continue
    const [localPort, remotePort] = [portOf(local), portOf(remote)]
    if (ports.has(localPort) || ports.has(remotePort)) ends.push({ localPort, remotePort, inode })
  }
  return ends
}

/** How many connections each port has, but for those whose other end is one of the sockets `own`. */
export function countConnections(
  ends: readonly ConnectionEnd[],
  ports: ReadonlySet<number>,
  own: ReadonlySet<string>,
): ReadonlyMap<number, number> {
  const ours = ends.filter(({ remotePort, inode }) => ports.has(remotePort) && own.has(inode))
  const pairs = new Set(ours.map(({ localPort, remotePort }) => `${localPort} ${remotePort}`))
  const counts = new Map<number, number>()
  for (const { localPort, remotePort } of ends) {
    if (!ports.has(localPort) || pairs.has(`${remotePort} ${localPort}`)) continue
    counts.set(localPort, (counts.get(localPort) ?? 0) + 1)
  }
  return counts
}

function portOf(address: string): number {
  return Number.parseInt(address.slice(address.lastIndexOf(':') + 1), 16)
}
