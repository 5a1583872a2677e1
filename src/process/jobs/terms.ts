import type { UnitConfig } from '../config.ts'
import { job, type JobTerms } from '../config/job.ts'
import { probes } from '../config/probes.ts'
import type { UnitSpec } from '../launch.ts'

/** Longer than anything lasts; exact as a double, also when added to a time. */
const FOR_EVER_MS = 2 ** 48

/** A run beside the replicas of a unit does another task, and need not answer as they do. */
const UNASKED = probes.parse({ ready: { exec: ['true'], enabled: false } })

const DEFAULT_TERMS: JobTerms = job.parse({})

/** Whether a unit is a job: it is not started with the node, but runs when asked or at its times, and then ends. */
export function isJob(config: Pick<UnitConfig, 'job' | 'schedule'>): boolean {
  return config.job !== undefined || config.schedule !== undefined
}

/** The terms of its runs; any unit can be run as a job. */
export function termsOf({ job: terms }: Pick<UnitConfig, 'job'>): JobTerms {
  return terms ?? DEFAULT_TERMS
}

export interface RunFacts {
  readonly id: string
  readonly args: readonly string[]
  /** The moment of the schedule it is for, ms since the epoch; undefined when somebody asked for it. */
  readonly tickMs?: number | undefined
}

/**
 * The unit as a slot is to run it once: attempts are the restarts of the slot, so that they wait as `restart.backoff`
 * says and survive the node, and giving up after the last of them is its end.
 */
export function runSpecOf(spec: UnitSpec, { id, args, tickMs }: RunFacts): UnitSpec {
  const { config } = spec
  const { retries } = termsOf(config)
  const restart: UnitConfig['restart'] = {
    ...config.restart,
    policy: retries === 0 ? 'no' : 'on-failure',
    give_up: { crashes: retries + 1, windowMs: FOR_EVER_MS },
    then: { retryMs: undefined },
    reset_after: FOR_EVER_MS,
    // Retries are a number, also after an exceeded limit.
    profile: 'web',
  }
  const asked = isJob(config) ? config.probes : UNASKED
  return { ...spec, config: { ...config, activation: 'manual', restart, probes: asked }, args, run: { id, tickMs } }
}
