import type { Exit } from '../process/index.ts'

/** How a program of the simulated host behaves. */
export interface SimScript {
  /** The program cannot be started, for this reason. */
  readonly fault?: string
  /** Signals that neither the program nor its helpers heed. SIGKILL is heeded always. */
  readonly ignores?: readonly string[]
  /** How it ends when it is asked politely; default: by the signal. */
  readonly onStop?: Exit
  /** Processes it starts besides itself, in its group. */
  readonly helpers?: number
  /** Processes it starts that leave its session and its parent, as daemons do; only its mark is left on them. */
  readonly daemons?: number
  /** Daemons that emptied their environment too: only the cell of the instance knows them. */
  readonly hidden?: number
  /** It ends by itself as soon as it was started. */
  readonly exitsAtOnce?: Exit
  /** It ends by itself after a while. */
  readonly ends?: { readonly afterMs: number; readonly exit: Exit }
}

/** A program that runs. */
export interface SimProgram {
  readonly unit: string
  readonly instance: string
  readonly env: Readonly<Record<string, string>>
  readonly pid: number
  /** As `later` counts: see `SimHost`. */
  readonly startedAtMs: number
}
