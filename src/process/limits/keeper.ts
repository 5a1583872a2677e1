import type { Clock } from '../../base/clock.ts'
import { messageOf } from '../../base/error.ts'
import type { Log } from '../../base/log.ts'
import type { LimitsConfig } from '../config.ts'
import type { Exit } from '../exit.ts'
import type { LimitStatus, ProcessEvent } from '../status.ts'
import type { Usage } from '../usage.ts'
import type { Cell, CellReading } from './backend.ts'
import { createFigures } from './figures.ts'
import { looksKilled } from './oom.ts'
import { capsOf, type LimitAction, type LimitMeans, type LimitPlan, THROTTLED_CORES, watchRules } from './plan.ts'
import { type Amounts, formatAmount, type Resource } from './resources.ts'
import { createLimitWatch, type Crossing, type LimitWatch } from './watch.ts'

/** An out-of-memory kill that was told this long before the end of the program is taken for its cause. */
const OOM_NEWS_MS = 5_000

/** What there is to tell of a limit. */
export type LimitNews = Pick<ProcessEvent, 'type' | 'reason' | 'details'>

export interface KeeperSeams {
  readonly clock: Clock
  readonly log: Log
  /** Writes an event down and returns its id. */
  readonly tell: (news: LimitNews) => string
  /** Has the instance ended; `causedBy` is the event that tells why. */
  readonly end: (how: 'restart' | 'stop' | 'kill', reason: string, causedBy: string) => void
  /** Counts a raise and gives what the limits come to then. */
  readonly raise: (resource: Resource) => readonly LimitPlan[]
}

export interface KeeperSubject {
  readonly config: LimitsConfig
  readonly means: LimitMeans
  readonly plans: readonly LimitPlan[]
  /** Undefined where the kernel keeps no cells. */
  readonly cell: Cell | undefined
}

/** Why the kernel ended a program. */
export interface KernelEnd {
  readonly reason: string
  /** Id of the event that tells. */
  readonly causedBy: string
}

/** Sees to the limits of one instance: what the kernel does not do for it, and what the kernel did. */
export class LimitKeeper {
  readonly #seams: KeeperSeams
  readonly #subject: KeeperSubject
  readonly #figures = createFigures()
  readonly #watch: LimitWatch
  #plans: readonly LimitPlan[]
  #used: Amounts = {}
  #oomKills = 0
  #oomNews: { readonly id: string; readonly atMs: number } | undefined
  #reading = false
  #isOver = false

  constructor(seams: KeeperSeams, subject: KeeperSubject) {
    this.#seams = seams
    this.#subject = subject
    this.#plans = subject.plans
    this.#watch = createLimitWatch(watchRules(subject.plans, subject.config))
  }

  get status(): readonly LimitStatus[] {
    return this.#plans.map(({ resource, value, mode, by }) => ({
      resource,
      value,
      mode,
      by,
      used: this.#used[resource],
    }))
  }

  /** Takes one reading into account. While one is being worked on, others are passed over. */
  async observe(usage: Usage): Promise<void> {
    if (this.#reading || this.#isOver) return
    this.#reading = true
    try {
      const { cell } = this.#subject
      const counted = (await cell?.read()) ?? {}
      const nowMs = this.#seams.clock.nowMs()
      this.#used = this.#figures(usage, counted, nowMs)
      this.#noticeKills(counted, nowMs)
      for (const crossing of this.#watch.observe(this.#used, nowMs)) await this.#cross(crossing)
    } finally {
      this.#reading = false
    }
  }

  /** Why the kernel ended it, if it did. Nothing is observed any more. */
  async ended(exit: Exit | undefined): Promise<KernelEnd | undefined> {
    this.#isOver = true
    if (!looksKilled(exit)) return undefined
    const nowMs = this.#seams.clock.nowMs()
    this.#noticeKills((await this.#subject.cell?.read()) ?? {}, nowMs)
    const news = this.#oomNews
    if (news === undefined || nowMs - news.atMs > OOM_NEWS_MS) return undefined
    return { reason: this.#oomReason(), causedBy: news.id }
  }

  /** The kernel counts whom it kills; who that was, it does not say. */
  #noticeKills({ oomKills = 0 }: CellReading, nowMs: number): void {
    if (oomKills <= this.#oomKills) return
    const details = { ...this.#detailsOf('memory'), source: 'kernel', kills: String(oomKills - this.#oomKills) }
    this.#oomKills = oomKills
    const reason = this.#oomReason()
    this.#seams.log.warn('the kernel killed a process of a unit for its memory', { reason })
    this.#oomNews = { id: this.#seams.tell({ type: 'unit.limit_exceeded', reason, details }), atMs: nowMs }
  }

  #oomReason(): string {
    const cap = this.#planOf('memory')?.cap
    if (cap === undefined) return 'the host ran out of memory (resource_limit): ended by the kernel'
    return `memory limit of ${formatAmount('memory', cap)} exceeded (resource_limit): ended by the kernel`
  }

  async #cross({ type, resource, used }: Crossing): Promise<void> {
    const plan = this.#planOf(resource)
    if (plan === undefined || this.#isOver) return
    const { action, value } = plan
    const isEnforced = plan.cap === value && action === undefined
    // What is measured of a limit that the kernel keeps may be a little more than it is.
    if (isEnforced && type !== 'near') return
    const uses = `uses ${formatAmount(resource, used)}`
    const limit = `${resource} limit of ${formatAmount(resource, value)}`
    switch (type) {
      case 'near':
        if (used <= value) this.#say('unit.limit_near', resource, `${uses}, near the ${limit}`, action)
        return
      case 'exceeded':
        this.#exceededId = this.#say('unit.limit_exceeded', resource, `${uses}, over the ${limit}`, action)
        return
      case 'sustained':
        return this.#act(plan, `${limit} exceeded (resource_limit): ${uses}`)
      case 'kept':
        this.#say('unit.limit_kept', resource, `${uses}, below the ${limit} again`, action)
        if (action === 'throttle') await this.#hold({})
    }
  }

  #exceededId = ''

  async #act({ resource, action }: LimitPlan, reason: string): Promise<void> {
    switch (action) {
      case 'restart':
      case 'stop':
      case 'kill':
        this.#isOver = true
        this.#seams.end(action, reason, this.#exceededId)
        return
      case 'raise':
        return this.#raise(resource)
      case 'throttle':
        return this.#throttle(resource)
      case 'log':
      case 'alert':
      case undefined:
    }
  }

  async #raise(resource: Resource): Promise<void> {
    this.#plans = this.#seams.raise(resource)
    const plan = this.#planOf(resource)
    if (plan === undefined) return
    const rule = watchRules(this.#plans, this.#subject.config).get(resource)
    if (rule !== undefined) this.#watch.change(resource, rule.limit)
    this.#say(
      'unit.limit_raised',
      resource,
      `${resource} limit raised to ${formatAmount(resource, plan.value)}`,
      'raise',
    )
    await this.#hold({})
  }

  /** Memory is throttled by a unit's time of processors where the kernel has no better way; nothing else gets here. */
  async #throttle(resource: Resource): Promise<void> {
    if (resource !== 'memory' || !this.#subject.means.kernel.enforces.has('cpu')) {
      this.#seams.log.warn('this host cannot throttle a unit; its limit is only watched', { resource })
      return
    }
    if (!(await this.#hold({ cpu: THROTTLED_CORES }))) return
    const reason = `throttled to ${formatAmount('cpu', THROTTLED_CORES)} until it uses less memory`
    this.#say('unit.limit_throttled', resource, reason, 'throttle')
  }

  /** False when the kernel refused, which must not end the supervision. */
  async #hold(more: Amounts): Promise<boolean> {
    const { cell, means, config } = this.#subject
    try {
      await cell?.hold({ ...capsOf(this.#plans, means, config), ...more })
      return true
    } catch (error) {
      this.#seams.log.warn('the kernel did not take the limits of a unit', { cause: messageOf(error) })
      return false
    }
  }

  #say(type: LimitNews['type'], resource: Resource, reason: string, action: LimitAction | undefined): string {
    const { log, tell } = this.#seams
    if (action === 'log') log.info('limit of a unit', { resource, reason })
    else log.warn('limit of a unit', { resource, reason })
    const details = { ...this.#detailsOf(resource), source: 'node', ...(action === undefined ? {} : { action }) }
    return tell({ type, reason, details })
  }

  #detailsOf(resource: Resource): Record<string, string> {
    const [value, used] = [this.#planOf(resource)?.value, this.#used[resource]]
    return {
      kind: 'resource_limit',
      resource,
      ...(value === undefined ? {} : { limit: String(value) }),
      ...(used === undefined ? {} : { used: String(used) }),
    }
  }

  #planOf(resource: Resource): LimitPlan | undefined {
    return this.#plans.find((plan) => plan.resource === resource)
  }
}
