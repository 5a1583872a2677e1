import type { Amounts, Resource } from './resources.ts'

/** What the kernel is to hold an instance to. Undefined = not at all. */
export interface Caps extends Amounts {
  /** Memory beyond which the kernel slows the instance down instead of ending it. */
  readonly memorySoft?: number | undefined
}

/** What the kernel counted of an instance; undefined where it does not. */
export interface CellReading {
  /** Memory in use that cannot be given back at once; file contents that nobody uses now are left out. */
  readonly memory?: number | undefined
  /** Processes and threads. */
  readonly pids?: number | undefined
  /** Processes that were killed because the memory was used up. */
  readonly oomKills?: number | undefined
}

/** The processes of one instance, as one mechanism of the system holds them together. */
export interface Cell {
  /** By these a later node finds it again: mechanism, controller and directory, such as `v1:memory:/sys/fs/cgroup/...`. */
  readonly places: readonly string[]
  /** Whether it knows its processes; else `pids` is empty, and `kill` and `freeze` do nothing. */
  readonly gathers: boolean
  /** Makes what is needed to hold the instance to `caps`, or changes it. What the mechanism cannot do is passed over. */
  hold(caps: Caps): Promise<void>
  /** Takes in a process; what it starts from now on belongs to the cell too. */
  enter(pid: number): Promise<void>
  /** What a shell has to say in the instance before the program is begun; '' = nothing. */
  prelude(caps: Caps): string
  /** All processes in it now. */
  pids(): Promise<readonly number[]>
  /** Sends SIGKILL to all at once, so that none can start another in the meantime. */
  kill(): Promise<void>
  /** Stops all processes where they are, or lets them go on. */
  freeze(frozen: boolean): Promise<void>
  read(): Promise<CellReading>
  /** Gives it back to the system. False when a process is still in it. */
  remove(): Promise<boolean>
}

/** What a cell is for. Both names are single path segments. */
export interface CellRequest {
  /** Names the node; its cells are together. */
  readonly node: string
  readonly instance: string
  /** What it is to hold or to count. */
  readonly resources: readonly Resource[]
  /** Whether its list of processes will be asked for. */
  readonly gather: boolean
}

/** One mechanism of the system that can hold processes to limits. */
export interface LimitBackend {
  readonly name: string
  /** What it can hold processes to on this host, and by what; found out by trying, once. */
  readonly enforces: ReadonlyMap<Resource, string>
  /** Whether its cells know their processes. */
  readonly gathers: boolean
  /** Whether it can slow a process down that uses too much memory. */
  readonly slowsMemory: boolean
  /** The cell of an instance; nothing is made before `hold`. */
  cell(request: CellRequest): Cell
  /** The cell an earlier node made; undefined when none of the places is of this mechanism. */
  found(places: readonly string[]): Cell | undefined
  /** Removes the empty cells of `node` that are none of `instances`. */
  sweep(node: string, instances: ReadonlySet<string>): Promise<void>
}

/** What the kernel of this host can hold units to, and by what. */
export interface KernelLimits {
  readonly enforces: ReadonlyMap<Resource, string>
  /** Whether memory beyond a limit can be made to slow a unit down. */
  readonly slowsMemory: boolean
}
