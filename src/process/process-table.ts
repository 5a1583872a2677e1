import type { ProcessIdentity } from './identity.ts'

/** What the system tells about one process at one moment. */
export interface ProcessInfo {
  readonly pid: number
  readonly ppid: number
  /** Process group. */
  readonly pgid: number
  /** Session; 0 where the system does not tell. */
  readonly sessionId: number
  /** With `pid` and the boot id, the identity of the process. Only ever compared for equality. */
  readonly startTime: string
  /** Name of the program; systems may cut it (Linux: 15 bytes). */
  readonly name: string
  /** Empty for kernel threads and for processes that vanished. May be read from the system only when it is asked for. */
  readonly argv: readonly string[]
  /** One letter as in `ps`: R, S, D, T, I, Z (ended, not yet reaped), X (dead). */
  readonly state: string
  /** User and system time of the process itself since its start. */
  readonly cpuMs: number
  readonly rssBytes: number
  /** User and system time of its children that have ended and were waited for; undefined where the system does not tell. */
  readonly reapedCpuMs?: number
  /** Path of the program file; undefined when the system does not tell, or not us. */
  readonly executable?: string | undefined
  /** Wall clock of the start, to about a second; undefined where the system does not tell. */
  readonly startedAtMs?: number | undefined
  /** The control groups it is in, as /proc/<pid>/cgroup has them; undefined where there are none. */
  readonly cgroup?: string | undefined
  /** Address space; undefined where the system does not tell, as are the threads. */
  readonly virtualBytes?: number | undefined
  readonly threads?: number | undefined
}

/** What costs a read of its own. A figure the system does not tell, or not us, is absent. */
export interface ProcessDetails {
  /** Open file descriptors. */
  readonly files?: number | undefined
  /** Read from storage since its start, its reaped children included. */
  readonly ioReadBytes?: number | undefined
  readonly ioWriteBytes?: number | undefined
}

/** What is known of a process beyond what it uses. Each is read when asked for; undefined = not told, or not to us. */
export interface Dossier {
  /** The user it acts as. */
  readonly uid: number | undefined
  readonly cwd: string | undefined
  /** As it was at its start. */
  readonly env: Readonly<Record<string, string>> | undefined
}

/** A socket that takes connections (tcp) or datagrams (udp). */
export interface Listener {
  readonly protocol: 'tcp' | 'udp'
  /** Numeric: `127.0.0.1`, `0.0.0.0`, `::`. */
  readonly address: string
  readonly port: number
  /** Processes that hold the socket open. */
  readonly pids: readonly number[]
  /** True when some process would not show its sockets, so that `pids` may lack it. */
  readonly hidden?: boolean
}

/** Narrows a search for listeners, to save work. More than was asked for may come back. */
export interface ListenerFilter {
  readonly protocol?: 'tcp' | 'udp'
  readonly port?: number
  /** Only these processes are searched for sockets; a listener of another has no `pids`. */
  readonly pids?: readonly number[]
}

/** The processes of this machine. Reads only; never signals. */
export interface ProcessTable {
  /** Changes with each start of the operating system. */
  bootId(): Promise<string>
  /** All processes, in no order. Those of `except` may be left out, which saves reading them. */
  list(except?: ReadonlySet<number>): Promise<readonly ProcessInfo[]>
  /** Undefined when there is none of that pid. A zombie is one. */
  get(pid: number): Promise<ProcessInfo | undefined>
  /**
   * Those of `list` that were started with exactly this `NAME=value` in their environment; children inherit it. Those whose
   * environment we may not read are left out, and where the system tells nobody's, all are. With `first`, also those that
   * are older than it, which saves most of the work.
   */
  marked(list: readonly ProcessInfo[], variable: string, first?: ProcessIdentity): Promise<readonly ProcessInfo[]>
  /**
   * All processes at a moment after the call, with those that `marked` would tell. Whoever asks while a look is made shares
   * the next one. Absent where nothing is gained by that; `lookAt` does the same with any table.
   */
  look?(variable: string, first?: ProcessIdentity): Promise<Look>
  /** More of one process, read at once. Missing where the system tells no more. */
  details?(pid: number): ProcessDetails
  /** Its proportional share of memory; undefined when it is gone or not ours to know. Missing where the system does not tell. */
  pssBytes?(pid: number): Promise<number | undefined>
  /** @throws HsuError `UNSUPPORTED` where the system does not tell who listens */
  listeners(filter?: ListenerFilter): Promise<readonly Listener[]>
  /**
   * How many established TCP connections each of these ports of this host has, but for those from this process. Absent where
   * the system does not tell.
   */
  connections?(ports: ReadonlySet<number>): Promise<ReadonlyMap<number, number>>
  /** Absent where the system does not tell. */
  dossier?(pid: number): Dossier
}

/** All processes of one moment, and those of them that carry the mark that was asked for. */
export interface Look {
  readonly index: TreeIndex
  readonly marked: readonly ProcessInfo[]
}

/** One look at all processes, see `ProcessTable.look`. */
export async function lookAt(table: ProcessTable, variable: string, first?: ProcessIdentity): Promise<Look> {
  if (table.look !== undefined) return table.look(variable, first)
  const list = await table.list()
  return { index: indexTree(list), marked: await table.marked(list, variable, first) }
}

/** Processes by parent and by the group or session they belong to; makes many `treeOf` questions cheap. */
export interface TreeIndex {
  readonly byPid: ReadonlyMap<number, ProcessInfo>
  readonly related: ReadonlyMap<number, readonly ProcessInfo[]>
}

export function indexTree(list: readonly ProcessInfo[]): TreeIndex {
  const related = new Map<number, ProcessInfo[]>()
  const relate = (root: number, info: ProcessInfo): void => {
    if (root === info.pid) return
    const members = related.get(root)
    if (members === undefined) related.set(root, [info])
    else members.push(info)
  }
  for (const info of list) {
    const { ppid, pgid, sessionId } = info
    relate(ppid, info)
    if (pgid !== ppid) relate(pgid, info)
    if (sessionId !== ppid && sessionId !== pgid) relate(sessionId, info)
  }
  return { byPid: new Map(list.map((info) => [info.pid, info])), related }
}

/**
 * The process `rootPid`, its descendants, and everything in a group or session that one of them leads; the
 * latter finds children whose parent has ended. Works when the root itself has ended: the system does not
 * use a pid again while a group or session of that number has members. Zombies are left out.
 */
export function treeOf(rootPid: number, list: readonly ProcessInfo[] | TreeIndex): readonly ProcessInfo[] {
  const { byPid, related } = 'byPid' in list ? list : indexTree(list)
  const seen = new Set([rootPid])
  for (const pid of seen) for (const member of related.get(pid) ?? []) seen.add(member.pid)
  return [...seen].flatMap((pid) => byPid.get(pid) ?? []).filter(isAlive)
}

/** True unless the process has ended and only waits to be reaped. */
export function isAlive(info: ProcessInfo): boolean {
  return info.state !== 'Z' && info.state !== 'X'
}

/** The identity of the living process `pid`; undefined when there is none. */
export async function identify(table: ProcessTable, pid: number): Promise<ProcessIdentity | undefined> {
  const info = await table.get(pid)
  return info === undefined || !isAlive(info) ? undefined : identityOf(info, await table.bootId())
}

export function identityOf({ pid, startTime }: ProcessInfo, bootId: string): ProcessIdentity {
  return { pid, startTime, bootId }
}

/** True when the very process of `identity` still lives. A zombie counts as gone. */
export async function isSame(table: ProcessTable, identity: ProcessIdentity): Promise<boolean> {
  if ((await table.bootId()) !== identity.bootId) return false
  const info = await table.get(identity.pid)
  return info !== undefined && isAlive(info) && info.startTime === identity.startTime
}
