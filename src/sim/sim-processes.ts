import type { Exit, ProcessIdentity, ProcessInfo, SpawnRequest } from '../process/index.ts'
import type { SimScript } from './sim-program.ts'

/** One run of a program, as its host knows it. */
export interface SimInstance {
  readonly request: SpawnRequest
  readonly script: SimScript
  readonly leader: ProcessIdentity
  readonly main: ProcessIdentity
  exit: Exit | undefined
  ended: boolean
  readonly startedAtMs: number
  readonly waiting: Set<(exit: Exit | undefined) => void>
}

export interface SimProcess {
  readonly info: ProcessInfo
  /** Undefined for a process that has nothing to do with us. */
  readonly instance: SimInstance | undefined
}

/** The parent of what has lost its own. */
const INIT = 1

/** The process table of a simulated host. */
export class SimProcesses {
  readonly #processes = new Map<number, SimProcess>()
  #nextPid = 100
  #ticks = 0

  get size(): number {
    return this.#processes.size
  }

  get all(): SimProcess[] {
    return [...this.#processes.values()]
  }

  get(pid: number): SimProcess | undefined {
    return this.#processes.get(pid)
  }

  of(instance: SimInstance): SimProcess[] {
    return this.all.filter((each) => each.instance === instance)
  }

  inGroup(pgid: number): SimProcess[] {
    return this.all.filter(({ info }) => info.pgid === pgid)
  }

  /** A process with a pid of its own, which is not in the table yet. It leads a group unless it has one. */
  make(name: string, parent = INIT, group?: number): ProcessInfo {
    const pid = this.#nextPid
    this.#nextPid += 1
    return this.#info(pid, parent, group ?? pid, name)
  }

  add(instance: SimInstance, infos: readonly ProcessInfo[]): void {
    for (const info of infos) this.#processes.set(info.pid, { info, instance })
  }

  remove(pid: number): void {
    this.#processes.delete(pid)
  }

  clear(): void {
    this.#processes.clear()
  }

  /** Gives the pid to a stranger. */
  recycle(pid: number): void {
    this.#processes.set(pid, { info: this.#info(pid, INIT, pid, 'stranger'), instance: undefined })
  }

  #info(pid: number, ppid: number, pgid: number, name: string): ProcessInfo {
    this.#ticks += 1
    return {
      ...{ pid, ppid, pgid, sessionId: pgid, name },
      startTime: String(this.#ticks),
      argv: [name],
      state: 'S',
      cpuMs: 0,
      rssBytes: 1_000,
    }
  }
}
