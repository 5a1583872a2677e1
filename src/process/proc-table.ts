import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { readdir, readFile, readlink } from 'node:fs/promises'
import { endianness } from 'node:os'
import { systemCode } from '../base/error.ts'
import { detailsReader, readPssBytes } from './proc-details.ts'
import { procDossier } from './proc-dossier.ts'
import { marksReader } from './proc-environ.ts'
import { FORBIDDEN, passOver, readSmall, SMALL_BYTES } from './proc-files.ts'
import { countConnections, parseConnections } from './proc-connections.ts'
import { parseProcNet, type ProcSocket } from './proc-net.ts'
import { type KernelUnits, parseAuxv, parseProcStat, type ProcStat } from './proc-stat.ts'
import type { ProcessIdentity } from './identity.ts'
import { type Marks, sharedLooks } from './shared-looks.ts'
import type { Listener, ListenerFilter, ProcessInfo, ProcessTable } from './process-table.ts'

/**
 * The process table of Linux. The small files of /proc live in memory, so they are read synchronously: about
 * 10 µs each, where an asynchronous read costs ten times that. `argv` and `executable` are read when asked for.
 */
export function procTable(): ProcessTable {
  let known: Promise<Known> | undefined
  let details: ReturnType<typeof detailsReader> | undefined
  const load = (): Promise<Known> => (known ??= loadKnown())
  return {
    bootId: async () => (await load()).bootId,
    async list(except) {
      const kernel = await load()
      const list: ProcessInfo[] = []
      // Names alone: asked for types, Node.js looks at entries whose processes may have ended by then, and fails.
      for (const name of readdirSync('/proc')) {
        if (!isPid(name) || except?.has(Number(name)) === true) continue
        const info = readInfo(name, kernel)
        if (info !== undefined) list.push(info)
      }
      return list
    },
    get: async (pid) => readInfo(String(pid), await load()),
    async marked(list, variable, first) {
      return markedAmong(list, new Map([[variable, first]]), (await load()).bootId).get(variable) ?? []
    },
    look: sharedLooks(async (marks) => {
      const kernel = await load()
      // Not at once: who asks in this turn of the event loop asks for the same look.
      const list = (await readdir('/proc')).flatMap((name) => (isPid(name) ? (readInfo(name, kernel) ?? []) : []))
      return { list, marked: markedAmong(list, marks, kernel.bootId) }
    }),
    details: (pid) => (details ??= detailsReader())(pid),
    pssBytes: readPssBytes,
    listeners: readListeners,
    connections: readConnections,
    dossier: procDossier,
  }
}

/** Which of `list` carry which mark, by what they were started with. */
function markedAmong(list: readonly ProcessInfo[], marks: Marks, bootId: string): Map<string, ProcessInfo[]> {
  const since = new Map([...marks].map(([variable, first]) => [variable, startTicks(first, bootId)]))
  const sinceTicks = [...since.values()].reduce((least, ticks) => Math.min(least, ticks), Infinity)
  const marksOf = marksReader(marks.keys())
  const marked = new Map<string, ProcessInfo[]>()
  for (const info of list) {
    if (Number(info.startTime) < sinceTicks) continue
    for (const variable of new Set(marksOf(info.pid))) {
      if (Number(info.startTime) < (since.get(variable) ?? 0)) continue
      marked.set(variable, [...(marked.get(variable) ?? []), info])
    }
  }
  return marked
}

/** Only names of processes begin with a digit. */
function isPid(name: string): boolean {
  const first = name.charCodeAt(0)
  return first >= 0x30 && first <= 0x39
}

/** What does not change while the system runs. */
interface Known extends KernelUnits {
  readonly bootId: string
  /** Small files are read into it, one at a time. */
  readonly scratch: Buffer
}

async function loadKnown(): Promise<Known> {
  const bytes = /^(arm|ia32|mips|mipsel|ppc)$/.test(process.arch) ? 4 : 8
  const auxv = await readFile('/proc/self/auxv')
  const bootId = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim()
  return { ...parseAuxv(auxv, { bytes, endianness: endianness() }), bootId, scratch: Buffer.alloc(SMALL_BYTES) }
}

/** Wall clock of the start of the system. Read each time: it moves when the clock is set. */
function readBootMs(): number | undefined {
  const match = /^btime (\d+)$/m.exec(readFileSync('/proc/stat', 'latin1'))
  return match === null ? undefined : Number(match[1]) * 1_000
}

function readInfo(pid: string, kernel: Known): ProcessInfo | undefined {
  const text = readSmall(`/proc/${pid}/stat`, kernel.scratch)
  const stat = text === undefined ? undefined : parseProcStat(text)
  return stat === undefined ? undefined : new ProcInfo(stat, kernel)
}

/** One process. A class, because hundreds are made each few seconds and getters of an object are made for each. */
class ProcInfo implements ProcessInfo {
  readonly pid: number
  readonly ppid: number
  readonly pgid: number
  readonly sessionId: number
  readonly startTime: string
  readonly name: string
  readonly state: string
  readonly cpuMs: number
  readonly reapedCpuMs: number
  readonly virtualBytes: number
  readonly threads: number
  readonly #rssPages: number
  readonly #kernel: Known
  #argv: readonly string[] | undefined

  constructor(stat: ProcStat, kernel: Known) {
    const { ticksPerSecond } = kernel
    this.pid = stat.pid
    this.ppid = stat.ppid
    this.pgid = stat.pgid
    this.sessionId = stat.sessionId
    this.startTime = stat.startTicks
    this.name = stat.name
    this.state = stat.state
    this.cpuMs = (stat.cpuTicks * 1_000) / ticksPerSecond
    this.reapedCpuMs = (stat.reapedCpuTicks * 1_000) / ticksPerSecond
    this.virtualBytes = stat.virtualBytes
    this.threads = stat.threads
    this.#rssPages = stat.rssPages
    this.#kernel = kernel
  }

  get rssBytes(): number {
    const { pageBytes, scratch } = this.#kernel
    return (residentPages(this.pid, scratch) ?? this.#rssPages) * pageBytes
  }

  get cgroup(): string | undefined {
    return readText(`/proc/${this.pid}/cgroup`)
  }

  get argv(): readonly string[] {
    return (this.#argv ??= readArgv(String(this.pid)))
  }

  get executable(): string | undefined {
    return readExecutable(String(this.pid))
  }

  get startedAtMs(): number | undefined {
    const bootMs = readBootMs()
    return bootMs === undefined ? undefined : bootMs + (Number(this.startTime) * 1_000) / this.#kernel.ticksPerSecond
  }
}

/**
 * From statm (proc_pid_statm(5)), which sums up what the processors count apart. The figure of stat leaves those sums
 * out: it lags by up to some hundred kB, which is much of a small program.
 */
function residentPages(pid: number, scratch: Buffer): number | undefined {
  const pages = readSmall(`/proc/${pid}/statm`, scratch)?.split(' ')[1]
  return pages === undefined ? undefined : Number(pages)
}

function readArgv(pid: string): readonly string[] {
  try {
    const text = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
    return text === '' ? [] : text.replace(/\0+$/, '').split('\0')
  } catch (error) {
    passOver(error)
    return []
  }
}

/** When it started, counted from the start of the system; 0 when it is not of this boot, or nobody knows. */
function startTicks(first: ProcessIdentity | undefined, bootId: string): number {
  return first?.bootId === bootId && first.startTime !== '' ? Number(first.startTime) : 0
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    passOver(error)
    return undefined
  }
}

function readExecutable(pid: string): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/exe`).replace(/ \(deleted\)$/, '')
  } catch (error) {
    passOver(error)
    return undefined
  }
}

async function readListeners(filter: ListenerFilter = {}): Promise<readonly Listener[]> {
  const sockets = await readSockets(filter)
  if (sockets.length === 0) return []
  const { owners, hidden } = await ownersOf(new Set(sockets.map(({ inode }) => inode)), filter.pids)
  return sockets.map(({ inode, ...socket }) => ({ ...socket, pids: owners.get(inode) ?? [], hidden }))
}

async function readConnections(ports: ReadonlySet<number>): Promise<ReadonlyMap<number, number>> {
  if (ports.size === 0) return new Map()
  const texts = await Promise.all(
    ['tcp', 'tcp6'].map((file) => readFile(`/proc/net/${file}`, 'latin1').catch(passOver)),
  )
  const ends = texts.flatMap((text) => parseConnections(text ?? '', ports))
  // Most of the time there are none, and nobody's files need to be looked through.
  if (ends.length === 0) return new Map()
  return countConnections(ends, ports, (await readSocketLinks('self')) ?? new Set())
}

async function readSockets({ protocol, port }: ListenerFilter): Promise<ProcSocket[]> {
  const sockets: ProcSocket[] = []
  for (const kind of ['tcp', 'udp'] as const) {
    if (protocol !== undefined && protocol !== kind) continue
    for (const file of [kind, `${kind}6`]) {
      // Without IPv6 in the kernel there is no tcp6.
      const text = await readFile(`/proc/net/${file}`, 'latin1').catch(passOver)
      sockets.push(...parseProcNet(kind, text ?? '', endianness()))
    }
  }
  return port === undefined ? sockets : sockets.filter((socket) => socket.port === port)
}

/** Looks through the open files of processes for sockets with these inodes. */
async function ownersOf(
  inodes: ReadonlySet<string>,
  among: readonly number[] | undefined,
): Promise<{ owners: ReadonlyMap<string, number[]>; hidden: boolean }> {
  const pids = among?.map(String) ?? (await readdir('/proc')).filter(isPid)
  const owners = new Map<string, number[]>()
  let hidden = false
  for (const pid of pids) {
    const links = await readSocketLinks(pid)
    if (links === undefined) hidden = true
    for (const inode of links ?? []) {
      if (inodes.has(inode)) owners.set(inode, [...(owners.get(inode) ?? []), Number(pid)])
    }
  }
  return { owners, hidden }
}

/** The inodes of the sockets a process holds, each once; undefined when we may not look. */
async function readSocketLinks(pid: string): Promise<ReadonlySet<string> | undefined> {
  const directory = `/proc/${pid}/fd`
  const inodes = new Set<string>()
  try {
    for (const fd of await readdir(directory)) {
      const link = await readlink(`${directory}/${fd}`).catch(passOver)
      if (link?.startsWith('socket:[') === true) inodes.add(link.slice('socket:['.length, -1))
    }
  } catch (error) {
    if (FORBIDDEN.includes(systemCode(error))) return undefined
    passOver(error)
  }
  return inodes
}
