import type { Clock } from '../../base/clock.ts'
import type { EjectionConfig } from '../config.ts'
import type { Endpoint } from '../endpoint-source.ts'
import type { CallOutcome } from '../target.ts'

/** `closed` lets calls pass. `open` refuses them. `half-open`: the next one is the trial. `trying`: it is under way. */
export type BreakerState = 'closed' | 'open' | 'half-open' | 'trying'

interface Record {
  failures: number
  /** Ends of ejections in a row; makes the next one longer. */
  ejections: number
  openUntilMs: number
  /** When the trial call was let go; it may never end. */
  tryingSinceMs: number | undefined
  /** For having answered badly, and not for not being there. */
  answersBadly: boolean
}

/** Beyond this many keys the oldest is forgotten: a call too many to one that failed is retried anyway. */
const MAX_KEYS = 1_000

/** A trial that takes longer than this counts no more: the next call is one too. */
const TRIAL_MS = 5_000

/**
 * Passive breakers, one a key: an instance, or a node whose link failed. After `failures` in a row, or one call that reached nobody,
 * a key is ejected for `time.minMs`; then one call tries it, and when that fails it is out for twice as long, up to
 * `time.maxMs`. (Envoy's outlier detection grows linearly; the doubling is that of its hosts' neighbours in Finagle's failure accrual.)
 */
export class Ejector {
  readonly #clock: Pick<Clock, 'nowMs'>
  readonly #records = new Map<string, Record>()

  constructor(clock: Pick<Clock, 'nowMs'>) {
    this.#clock = clock
  }

  /** A call to `key` ended. */
  note(
    key: string,
    outcome: CallOutcome | 'unreachable',
    { failures, time }: Pick<EjectionConfig, 'failures' | 'time'>,
  ): void {
    const known = this.#records.get(key)
    if (outcome === 'answered') {
      if (known !== undefined) this.#records.delete(key)
      return
    }
    const state = this.stateOf(key)
    if (state === 'open' && outcome === 'failed') return
    const record = known ?? { failures: 0, ejections: 0, openUntilMs: 0, tryingSinceMs: undefined, answersBadly: false }
    record.failures += 1
    record.answersBadly = outcome === 'failed'
    const isTrial = state === 'half-open' || state === 'trying'
    if (isTrial || outcome === 'unreachable' || record.failures >= failures) this.#eject(record, isTrial, time)
    this.#records.delete(key)
    this.#records.set(key, record)
    const [oldest] = this.#records.keys()
    if (this.#records.size > MAX_KEYS && oldest !== undefined) this.#records.delete(oldest)
  }

  stateOf(key: string): BreakerState {
    const record = this.#records.get(key)
    if (record === undefined || record.openUntilMs === 0) return 'closed'
    const nowMs = this.#clock.nowMs()
    if (nowMs < record.openUntilMs) return 'open'
    const { tryingSinceMs } = record
    return tryingSinceMs !== undefined && nowMs - tryingSinceMs < TRIAL_MS ? 'trying' : 'half-open'
  }

  /** Whether calls should avoid `key`. */
  isOut(key: string): boolean {
    const state = this.stateOf(key)
    return state === 'open' || state === 'trying'
  }

  /** Anything is remembered at all. */
  get isBusy(): boolean {
    return this.#records.size > 0
  }

  /** Those that should get no call now. Who answers, if badly, stays in when more than `maxShare` of all would be out. */
  outOf(endpoints: readonly Endpoint[], maxShare: number): ReadonlySet<Endpoint> {
    const out = new Set<Endpoint>()
    let left = Math.floor(endpoints.length * maxShare)
    for (const endpoint of endpoints) {
      const { instance, nodeId } = endpoint
      if (this.isOut(nodeId)) out.add(endpoint)
      else if (this.isOut(instance)) {
        const isGone = this.#records.get(instance)?.answersBadly === false
        if (!isGone) left -= 1
        if (isGone || left >= 0) out.add(endpoint)
      }
    }
    return out
  }

  /** A call goes to `key`: when that is its trial, no other does until it has ended. */
  began(key: string): void {
    if (this.stateOf(key) !== 'half-open') return
    const record = this.#records.get(key)
    if (record !== undefined) record.tryingSinceMs = this.#clock.nowMs()
  }

  #eject(record: Record, isTrial: boolean, { minMs, maxMs }: EjectionConfig['time']): void {
    record.ejections = isTrial ? record.ejections + 1 : 1
    record.openUntilMs = this.#clock.nowMs() + Math.min(maxMs, minMs * 2 ** (record.ejections - 1))
    record.tryingSinceMs = undefined
    record.failures = 0
  }
}
