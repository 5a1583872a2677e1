import { HsuError } from '../base/error.ts'
import {
  type Cell,
  type Child,
  type Exit,
  type Gone,
  type InstancePlace,
  isSame,
  type KernelLimits,
  type Left,
  type Listener,
  markOf,
  type ProcessHost,
  type ProcessIdentity,
  type ProcessInfo,
  type ProcessTable,
  type RunCommand,
  type SpawnRequest,
} from '../process/index.ts'
import { type SimInstance, type SimProcess, SimProcesses } from './sim-processes.ts'
import type { SimProgram, SimScript } from './sim-program.ts'

/** Time, as far as a machine needs it. */
export interface SimHostTime {
  nowMs(): number
  after(ms: number, act: () => void): unknown
}

/** A machine with scripted programs. Like a real one, it outlives the supervisors that use it. */
export class SimHost implements ProcessHost {
  readonly table: ProcessTable
  run: RunCommand = async () => ({ exit: { code: 0 }, stdout: '' })
  /** Every start there was, in order. */
  readonly spawned: SpawnRequest[] = []
  /** Every signal that reached a process, in order: `SIGTERM main`, `SIGKILL helper`. */
  readonly signals: string[] = []
  readonly busyPorts = new Set<number>()
  /** Whether the processes of an instance are kept together in a cell. */
  cells = false
  /** How many of the next looks at the process table fail, as when no file descriptor is left. */
  tableFaults = 0
  /** When set, starts wait for it. */
  gate: Promise<void> | undefined
  /** When set, whoever asks for the boot or for an instance to adopt waits for it. */
  lookGate: Promise<void> | undefined
  /** How probes reach what runs here; undefined: as on a real host. */
  reach?: NonNullable<ProcessHost['reach']>
  readonly #time: SimHostTime
  readonly #processes = new SimProcesses()
  readonly #instances = new Map<string, SimInstance>()
  #script: (request: SpawnRequest) => SimScript = () => ({})
  #bootId = 'boot-1'
  #nextPort = 40_000

  /** @param time for programs that end by themselves after a while; without it, they do at once */
  constructor(time: SimHostTime = { nowMs: () => 0, after: (_ms, act) => act() }) {
    this.#time = time
    this.table = {
      bootId: async () => {
        await this.lookGate
        return this.#bootId
      },
      list: async () => {
        if (this.tableFaults > 0) {
          this.tableFaults -= 1
          throw new Error('EMFILE: too many open files')
        }
        return this.#processes.all.map(({ info }) => info)
      },
      get: async (pid) => this.#processes.get(pid)?.info,
      marked: async (list, variable) =>
        list.filter(({ pid }) => {
          const { info, instance } = this.#processes.get(pid) ?? {}
          return info?.name !== 'hidden' && instance !== undefined && markOf(instance.request.directory) === variable
        }),
      listeners: async (): Promise<readonly Listener[]> => {
        throw new HsuError('UNSUPPORTED', 'the simulated host has no sockets')
      },
    }
  }

  /** What programs do from now on. */
  play(script: (request: SpawnRequest) => SimScript): void {
    this.#script = script
  }

  /** The pids of the programs of a unit that run now. */
  pidsOf(unit: string): number[] {
    return [...this.#instances.values()]
      .filter(({ request, ended }) => request.unit === unit && !ended)
      .map(({ main }) => main.pid)
  }

  /** The programs of units that run now. */
  get programs(): SimProgram[] {
    return [...this.#instances.values()]
      .filter(({ ended }) => !ended)
      .map(({ request, main, startedAtMs }) => ({
        ...{ unit: request.unit, env: request.env, pid: main.pid, startedAtMs },
        instance: request.directory.split('/').at(-1) ?? '',
      }))
  }

  /** All processes there are, of whatever kind. */
  get population(): number {
    return this.#processes.size
  }

  /** The slots whose program runs now, as `unit/replica`, one entry for each program. */
  get running(): string[] {
    const programs = [...this.#instances.values()].filter(({ ended }) => !ended)
    return programs.map(({ request }) => request.directory.split('/').slice(-3, -1).join('/'))
  }

  /** Pids that belonged to processes of units, now to nobody, and number no group that is left. */
  get freePids(): number[] {
    const living = this.#processes.all.flatMap(({ info }) => [info.pid, info.pgid])
    return [...this.#instances.values()]
      .flatMap(({ leader, main }) => [leader.pid, main.pid])
      .filter((pid) => !living.includes(pid))
  }

  /** The processes of units, programs and what they left behind, each as `daemon of /run/hsu/api/0/api-0-3fa2b1`. */
  get ours(): string[] {
    return this.#processes.all.flatMap(({ info, instance }) =>
      instance === undefined ? [] : `${info.name} of ${instance.request.directory}`,
    )
  }

  /** The program with this pid ends by itself. */
  exit(pid: number, exit: Exit): void {
    const process = this.#processes.get(pid)
    if (process?.instance === undefined) throw new Error(`no process ${pid} of a unit`)
    this.#end(process.instance, exit)
  }

  /** The pid is given to a stranger, as systems do after a while. */
  recycle(pid: number): void {
    this.#processes.recycle(pid)
  }

  /** The power goes off and on: no process is left, and nobody saw them end. */
  reboot(): void {
    this.#processes.clear()
    for (const instance of this.#instances.values()) instance.ended = true
    this.#bootId = `${this.#bootId}'`
  }

  environment(): Readonly<Record<string, string>> {
    return { PATH: '/usr/bin:/bin', SECRET: 'not for units' }
  }

  async spawn({ after, ...request }: SpawnRequest): Promise<Child> {
    await after
    const script = this.#script(request)
    if (script.fault !== undefined) {
      throw new HsuError(
        'SPAWN_FAILED',
        `cannot run ${request.argv[0] ?? ''} of unit '${request.unit}': ${script.fault}`,
      )
    }
    this.spawned.push(request)
    await this.gate
    const leader = this.#processes.make('sh')
    const main = this.#processes.make('main', leader.pid, leader.pid)
    const identify = ({ pid, startTime }: ProcessInfo): ProcessIdentity => ({ pid, startTime, bootId: this.#bootId })
    const instance: SimInstance = {
      request,
      script,
      leader: identify(leader),
      main: identify(main),
      exit: undefined,
      ended: false,
      startedAtMs: this.#time.nowMs(),
      waiting: new Set(),
    }
    const others = [
      ...times(script.helpers, () => this.#processes.make('helper', main.pid, leader.pid)),
      ...times(script.daemons, () => this.#processes.make('daemon')),
      ...times(script.hidden, () => this.#processes.make('hidden')),
    ]
    this.#processes.add(instance, [leader, main, ...others])
    this.#instances.set(request.directory, instance)
    const child = this.#child(instance)
    const { exitsAtOnce, ends } = script
    if (exitsAtOnce !== undefined) this.#end(instance, exitsAtOnce)
    if (ends !== undefined) this.#time.after(ends.afterMs, () => this.#end(instance, ends.exit))
    return child
  }

  async adopt({ directory, leader, main }: Left): Promise<Child | Gone> {
    await this.lookGate
    const instance = this.#instances.get(directory)
    if (instance === undefined) return { gone: true, exit: undefined }
    const known = { leader: leader ?? instance.leader, main: main ?? instance.main }
    if (instance.ended || !(await isSame(this.table, known.main))) return { gone: true, exit: instance.exit }
    return this.#child(instance)
  }

  async signal(target: ProcessIdentity, signal: NodeJS.Signals): Promise<boolean> {
    if (!(await isSame(this.table, target))) return false
    const process = this.#processes.get(target.pid)
    if (process !== undefined) this.#deliver(process, signal)
    return process !== undefined
  }

  async signalGroup({ leader, main }: Child, signal: NodeJS.Signals): Promise<boolean> {
    if (!(await isSame(this.table, leader)) && !(await isSame(this.table, main))) return false
    const group = this.#processes.inGroup(leader.pid)
    for (const process of group) this.#deliver(process, signal)
    return group.length > 0
  }

  async kernelLimits(): Promise<KernelLimits> {
    return { enforces: new Map(), slowsMemory: false }
  }

  async cellOf(directory: string): Promise<Cell | undefined> {
    const instance = this.#instances.get(directory)
    return this.cells && instance !== undefined ? this.#cell(instance) : undefined
  }

  async instances(runDir: string): Promise<readonly InstancePlace[]> {
    return [...this.#instances.keys()].flatMap((directory) => {
      const [unit, replica, instance] = directory.slice(runDir.length + 1).split('/')
      if (unit === undefined || replica === undefined || instance === undefined) return []
      return [{ unit, replica: Number(replica), instance, directory }]
    })
  }

  async discard(directory: string): Promise<void> {
    this.#instances.delete(directory)
  }

  async freePort(): Promise<number> {
    return this.#nextPort++
  }

  async isPortFree(port: number): Promise<boolean> {
    return !this.busyPorts.has(port)
  }

  #child(instance: SimInstance): Child {
    let tell: (exit: Exit | undefined) => void = () => undefined
    const exited = new Promise<Exit | undefined>((resolve) => {
      tell = resolve
    })
    instance.waiting.add(tell)
    if (instance.ended) tell(instance.exit)
    const { leader, main, request } = instance
    const release = (): void => void instance.waiting.delete(tell)
    return {
      directory: request.directory,
      leader,
      main,
      cell: this.cells ? this.#cell(instance) : undefined,
      exited,
      release,
    }
  }

  #cell(instance: SimInstance): Cell {
    const members = (): SimProcess[] => this.#processes.of(instance)
    return {
      places: [`sim::${instance.request.directory}`],
      gathers: true,
      hold: async () => undefined,
      enter: async () => undefined,
      prelude: () => '',
      pids: async () => members().map(({ info }) => info.pid),
      kill: async () => {
        this.signals.push('kill cell')
        for (const { info } of members()) this.#processes.remove(info.pid)
        this.#end(instance, { signal: 'SIGKILL' })
      },
      freeze: async () => undefined,
      read: async () => ({}),
      remove: async () => members().length === 0,
    }
  }

  #deliver(process: SimProcess, signal: NodeJS.Signals): void {
    const { info, instance } = process
    if (info.name === 'sh' && signal !== 'SIGKILL') return
    this.signals.push(`${signal} ${info.name}`)
    if (instance === undefined) {
      this.#processes.remove(info.pid)
      return
    }
    if (signal !== 'SIGKILL' && instance.script.ignores?.includes(signal) === true) return
    if (info.name === 'main')
      this.#end(instance, signal === 'SIGKILL' ? { signal } : (instance.script.onStop ?? { signal }))
    else this.#processes.remove(info.pid)
  }

  /** The program ends; its leader records that and ends too. Helpers stay. */
  #end(instance: SimInstance, exit: Exit): void {
    if (instance.ended) return
    instance.ended = true
    instance.exit = exit
    this.#processes.remove(instance.main.pid)
    this.#processes.remove(instance.leader.pid)
    for (const tell of instance.waiting) tell(exit)
  }
}

function times<T>(count: number | undefined, make: () => T): T[] {
  return Array.from({ length: count ?? 0 }, make)
}
