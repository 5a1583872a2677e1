import type { Exit } from './exit.ts'
import type { ProcessIdentity } from './identity.ts'
import type { ProcessTable } from './process-table.ts'
import type { Caps, Cell, KernelLimits } from './limits/backend.ts'
import type { Resource } from './limits/resources.ts'
import type { ProbeReach } from './probes/index.ts'
import type { RunCommand } from './run-command.ts'

/** One program to be run as the process of an instance. */
export interface SpawnRequest {
  /** Named in messages. */
  readonly unit: string
  /** Private directory of the instance, absolute; made when absent. Gets `stdout`, `stderr`, `pid` and `exit`. */
  readonly directory: string
  /** Program and arguments; no shell. A relative program with a `/` is relative to `cwd`, one without is looked up in `env.PATH`. */
  readonly argv: readonly string[]
  /** Absolute. */
  readonly cwd: string
  /** The whole environment: nothing is inherited. */
  readonly env: Readonly<Record<string, string>>
  /** Run as this user; undefined = as the node. */
  readonly user: string | undefined
  /** What the kernel is to hold it to, from before its first instruction. What this host's kernel cannot do is passed over. */
  readonly caps?: Caps
  /** What it is limited in, by the kernel or by us: the kernel counts what it can of these. */
  readonly limited?: readonly Resource[]
  /** What it writes goes to /dev/null. */
  readonly discardsOutput?: boolean
  /** The program does not begin before this has resolved; what can be prepared is prepared meanwhile. */
  readonly after?: Promise<void>
}

/** What the processes of an instance are known by, while they live and after. */
export interface Kin {
  /** Private directory of the instance, absolute. Its processes carry it in their environment (`markOf`). */
  readonly directory: string
  /** The tiny shell that outlives the node and records how the program ended. Its pid is the group and session id. */
  readonly leader: ProcessIdentity
  /** The unit's own program. */
  readonly main: ProcessIdentity
}

/** The processes of an instance: a leader of their own session and group, and the unit's program under it. */
export interface Child extends Kin {
  /** All its processes, as the kernel keeps them together; undefined where it does not. */
  readonly cell: Cell | undefined
  /** Resolves once, when the program has ended; undefined when nobody saw how. Never rejects. */
  readonly exited: Promise<Exit | undefined>
  /** Lets go without touching the processes: nothing of them keeps this node alive any more. Idempotent. */
  readonly release: () => void
}

/** What is known of an instance that an earlier node started. */
export interface Left {
  readonly directory: string
  readonly leader: ProcessIdentity | undefined
  readonly main: ProcessIdentity | undefined
}

/** The process is gone; `exit` is undefined when nobody saw how. */
export interface Gone {
  readonly gone: true
  readonly exit: Exit | undefined
}

/** Where the files of an instance are, and whose they are. */
export interface InstancePlace {
  readonly unit: string
  readonly replica: number
  readonly instance: string
  readonly directory: string
}

/** The operating system, as far as a supervisor needs it. */
export interface ProcessHost {
  readonly table: ProcessTable
  /** The node's own environment, for units to inherit chosen parts of. */
  environment(): Readonly<Record<string, string>>
  /** Resolves when the program's process exists and is known. @throws HsuError `SPAWN_FAILED` saying what is wrong with it */
  spawn(request: SpawnRequest): Promise<Child>
  /** Takes over the instance an earlier node left, verified by identity, or learns how it ended. */
  adopt(left: Left): Promise<Child | Gone>
  /** Sends a signal to exactly this process. False, and nothing is sent, when it is gone or its pid belongs to another. */
  signal(target: ProcessIdentity, signal: NodeJS.Signals): Promise<boolean>
  /** Sends a signal to the group of `kin`. False, and nothing is sent, when the group is gone or no longer theirs. */
  signalGroup(kin: Kin, signal: NodeJS.Signals): Promise<boolean>
  /** What the kernel of this host can hold units to. */
  kernelLimits(): Promise<KernelLimits>
  /** The cell of an instance, also of one that has ended, until it is discarded; undefined when it has none. */
  cellOf(directory: string): Promise<Cell | undefined>
  /** The instances that have a directory below `runDir`, which is `<runDir>/<unit>/<replica>/<instance>`. */
  instances(runDir: string): Promise<readonly InstancePlace[]>
  /** Forgets the directory of an ended instance. */
  discard(directory: string): Promise<void>
  /** Runs a short helper program to its end: an exec probe, `ps`. */
  readonly run: RunCommand
  /** How probes reach what runs here. Default: through sockets and files of this system. */
  readonly reach?: ProbeReach
  /** A TCP port nobody listens on, chosen by the system. */
  freePort(): Promise<number>
  isPortFree(port: number): Promise<boolean>
}
