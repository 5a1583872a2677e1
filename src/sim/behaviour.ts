import type { SpawnRequest } from '../process/index.ts'
import type { SimScript } from './sim-program.ts'

/** How the programs of a unit behave. What is left out: they run until they are stopped, and answer at once. */
export interface Behaviour {
  /** From the start until they answer probes, in ms. */
  readonly readyAfterMs?: number | undefined
  /** They end by themselves after this, in ms. */
  readonly endsAfterMs?: number | undefined
  /** The code they end with by themselves. Default 0. */
  readonly code?: number | undefined
  /** They do not heed SIGTERM. */
  readonly stubborn?: boolean | undefined
  /** gRPC services they offer. */
  readonly services?: readonly string[] | undefined
  /** A line they write when they are ready. */
  readonly says?: string | undefined
}

/** A run of a job is over soon, unless something else was said. */
const JOB_MS = 1_000

export function scriptOf({ env }: SpawnRequest, behaviour: Behaviour = {}): SimScript {
  const isRun = env['HSU_RUN'] !== undefined
  const endsAfterMs = behaviour.endsAfterMs ?? (isRun ? JOB_MS : undefined)
  return {
    ...(behaviour.stubborn === true && { ignores: ['SIGTERM', 'SIGINT', 'SIGQUIT'] }),
    ...(endsAfterMs !== undefined && { ends: { afterMs: endsAfterMs, exit: { code: behaviour.code ?? 0 } } }),
  }
}
