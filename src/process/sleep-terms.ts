import type { UnitConfig } from './config.ts'
import { idle } from './config/idle.ts'
import { isJob } from './jobs/terms.ts'

/** How a unit sleeps. */
export interface SleepTerms {
  /** Idle time after which it is put to sleep; undefined = it stays awake once it was woken. */
  readonly stopAfterMs: number | undefined
  /** How long a call waits for it to start. */
  readonly holdMs: number
  /** Replicas below this number never sleep. */
  readonly min: number
  /** Cores: a unit that does not speak gRPC and uses more than this is not idle. */
  readonly cpu: number
}

const DEFAULTS = idle.parse({})

/** How long those who need a unit wait for it that says nothing of it, in ms: as `idle.hold`. */
export const DEFAULT_HOLD_MS = DEFAULTS.hold

/** Undefined for a unit that never sleeps: a call does not start it. */
export function sleepTermsOf(config: UnitConfig): SleepTerms | undefined {
  const { kind, activation, idle: terms } = config
  if (kind === 'unmanaged' || isJob(config) || activation === 'manual') return undefined
  if (activation === 'always' && terms === undefined) return undefined
  const { hold, min, cpu } = terms ?? DEFAULTS
  return { stopAfterMs: terms?.stop_after, holdMs: hold, min, cpu }
}

/** Whether a replica may sleep. */
export function maySleep(config: UnitConfig, replica: number): boolean {
  const terms = sleepTermsOf(config)
  return terms !== undefined && replica >= terms.min
}
