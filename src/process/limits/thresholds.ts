import type { TaskGroup } from '../../base/task-group.ts'
import type { LimitsConfig } from '../config.ts'
import type { ProcessIdentity } from '../identity.ts'
import type { Meter } from '../meter.ts'
import type { ProcessTable } from '../process-table.ts'
import type { LimitStatus } from '../status.ts'
import type { KernelLimits } from './backend.ts'
import { type KeeperSeams, LimitKeeper } from './keeper.ts'
import { watchableOf } from './means.ts'
import { type LimitMeans, type LimitPlan, planLimits } from './plan.ts'

export interface ThresholdsSeams extends Pick<KeeperSeams, 'clock' | 'log' | 'tell'> {
  readonly table: ProcessTable
  /** Measures often. */
  readonly meter: Pick<Meter, 'track'>
  readonly tasks: TaskGroup
}

/** The limits of a process that is not ours: each crossing is told once, and nothing else is done about it. */
export class Thresholds {
  readonly #plans: readonly LimitPlan[]
  readonly #keeper: LimitKeeper
  #untrack: () => void = () => undefined

  constructor(seams: ThresholdsSeams, identity: ProcessIdentity, limits: LimitsConfig) {
    const config = watchingOnly(limits)
    const means: LimitMeans = { kernel: NO_KERNEL, watchable: watchableOf(seams.table) }
    this.#plans = planLimits(config, means)
    const { meter, tasks } = seams
    // Neither can come about with an action that only tells.
    const never = { end: () => undefined, raise: () => this.#plans }
    this.#keeper = new LimitKeeper({ ...seams, ...never }, { config, means, plans: this.#plans, cell: undefined })
    if (this.#plans.length === 0) return
    for (const { resource, mode, by } of this.#plans) {
      if (mode === 'unsupported') seams.log.warn('limit has no effect on this host', { resource, by })
    }
    this.#untrack = meter.track(identity, (usage) => tasks.run(() => this.#keeper.observe(usage)))
  }

  get status(): readonly LimitStatus[] {
    return this.#keeper.status
  }

  end(): void {
    this.#untrack()
    void this.#keeper.ended(undefined)
  }
}

const NO_KERNEL: KernelLimits = { enforces: new Map(), slowsMemory: false }

/** The same limits with `alert` for what nothing was said about. */
function watchingOnly(limits: LimitsConfig): LimitsConfig {
  const { on_exceed } = limits
  if (typeof on_exceed !== 'object') return { ...limits, on_exceed: on_exceed ?? 'alert' }
  const alert = { memory: 'alert', cpu: 'alert', pids: 'alert', files: 'alert', io: 'alert' } as const
  return { ...limits, on_exceed: { ...alert, ...on_exceed } }
}
