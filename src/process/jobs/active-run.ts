import type { Clock } from '../../base/clock.ts'
import type { NewEvent, Tell } from '../causes.ts'
import type { UnitSpec } from '../launch.ts'
import type { SlotRecord } from '../slot-record.ts'
import type { InstanceStatus, StoppedInstance } from '../status.ts'
import { type SlotSeams, UnitSlot } from '../unit.ts'
import { type Outcome, outcomeOf } from './plan.ts'
import type { RunRecord } from './run-record.ts'
import { stateOf } from './run-status.ts'
import { runSpecOf } from './terms.ts'

const never = new AbortController().signal

export interface ActiveRunHooks {
  /** The record has changed. */
  changed(): void
  /** The slot is at rest: this is what became of the run. Called once. */
  ended(outcome: Outcome): void
}

/** A run that has not ended: a slot that makes its attempts, and the record of it. */
export class ActiveRun {
  readonly slot: UnitSlot
  readonly #clock: Clock
  readonly #hooks: ActiveRunHooks
  readonly #deadline = new AbortController()
  readonly #instances = new Set<string>()
  #record: RunRecord
  #begun = false
  #isLetGo = false
  #outcome: Outcome | undefined
  #finish: () => void = () => undefined
  /** Resolves when the run has ended, and all that it wrote was taken; or when it was let go of. */
  readonly done = new Promise<void>((resolve) => {
    this.#finish = resolve
  })

  constructor(seams: SlotSeams, spec: UnitSpec, record: RunRecord, runDir: string, hooks: ActiveRunHooks) {
    const publish: Tell = (event) => (this.#outcome === undefined ? seams.publish(ofRun(event)) : '')
    const changed = (): void => {
      const wasOver = this.#outcome !== undefined
      this.#follow()
      if (!wasOver) seams.changed(this.status)
    }
    this.#clock = seams.clock
    this.#record = record
    this.#hooks = hooks
    if (record.instance !== '') this.#instances.add(record.instance)
    this.slot = new UnitSlot({ ...seams, publish, changed }, runSpecOf(spec, record), record.lane, runDir)
  }

  get record(): RunRecord {
    return this.#record
  }

  /** As the slot has it; once it is known what became of the run, that. */
  get status(): InstanceStatus {
    const status = this.slot.status
    const { state, reason = '' } = this.#outcome ?? {}
    return state === undefined ? status : { ...status, state: stateOf(state), ready: false, reason }
  }

  /** Whether an instance is one of its attempts. */
  owns(instance: string): boolean {
    return this.#instances.has(instance)
  }

  /** Makes the first attempt. */
  async begin(): Promise<void> {
    await this.slot.begin(undefined)
    this.#startOrEnd()
  }

  /** Goes on with what an earlier node left. */
  async adopt(left: SlotRecord): Promise<void> {
    await this.slot.begin(left)
    if (this.#isLetGo) return
    const { instance, state, want } = this.slot.status
    if (instance !== '') this.#instances.add(instance)
    // Written down, and nothing of it was started.
    if (state === 'down' && want === 'down' && this.#record.ending === undefined) {
      this.#start()
      return
    }
    this.#begun = true
    this.#armDeadline()
    if (this.#record.ending !== undefined) void this.end(this.#record.ending)
    this.#follow()
  }

  /** Brings it to its end, in good order or by force; resolves with how its processes ended. */
  async end(ending: NonNullable<RunRecord['ending']>, force = false): Promise<readonly StoppedInstance[]> {
    if (this.#outcome !== undefined) return []
    if (this.#record.ending === undefined) {
      this.#record = { ...this.#record, ending }
      this.#hooks.changed()
    }
    const origin = { causedBy: this.#record.eventId }
    const stopped = this.slot.requests.stop(never, origin)
    if (force) await this.slot.requests.kill(origin)
    return stopped
  }

  /** The node ends in good order: the run is stopped. */
  async close(): Promise<void> {
    this.#deadline.abort()
    if (this.#outcome === undefined) this.#record = { ...this.#record, ending: this.#record.ending ?? 'closed' }
    await this.slot.close()
    this.#follow()
  }

  async abandon(): Promise<void> {
    this.#isLetGo = true
    this.#deadline.abort()
    await this.slot.abandon()
    this.#finish()
  }

  /** All that it wrote was taken, and its outcome is on the disk. */
  finish(): void {
    this.#finish()
  }

  /** It may have been ended before it had begun: then nothing of it is started. */
  #startOrEnd(): void {
    if (this.#isLetGo) return
    if (this.#record.ending === undefined) {
      this.#start()
      return
    }
    this.#begun = true
    this.#follow()
  }

  #start(): void {
    this.#begun = true
    this.#armDeadline()
    // What goes wrong shows in the state of the slot.
    void this.slot.requests.start(never, { causedBy: this.#record.eventId }).catch(() => undefined)
    this.#follow()
  }

  #armDeadline(): void {
    const { deadlineMs } = this.#record
    if (deadlineMs === undefined) return
    const leftMs = deadlineMs - this.#clock.wallMs()
    const ring = (): void => void this.end('timeout')
    void this.#clock.sleep(leftMs, this.#deadline.signal).then(ring, () => undefined)
  }

  /** Keeps the record in step with the slot. */
  #follow(): void {
    if (this.#outcome !== undefined || !this.#begun) return
    const { instance, restarts, state, exit, reason } = this.slot.status
    const attempts = instance === '' ? 0 : restarts + 1
    const isNew = instance !== this.#record.instance || attempts !== this.#record.attempts
    if (instance !== '') this.#instances.add(instance)
    if (isNew) this.#record = { ...this.#record, instance, attempts }
    if (this.slot.isAtRest) {
      this.#deadline.abort()
      this.#outcome = outcomeOf({ state, exit, reason }, this.#record)
      this.#record = { ...this.#record, ...this.#outcome, endedAtMs: this.#clock.wallMs() }
      this.#hooks.ended(this.#outcome)
    } else if (isNew) this.#hooks.changed()
  }
}

/** A run fails by its terms, not by crashing too often in a time. */
function ofRun(event: NewEvent): NewEvent {
  return event.type === 'unit.failed' ? { ...event, reason: event.cause } : event
}
