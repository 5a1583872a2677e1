import { withSignalEach } from '../../base/abort.ts'
import { messageOf } from '../../base/error.ts'
import type { Store } from '../../base/store.ts'
import type { TaskGroup } from '../../base/task-group.ts'
import type { Asker, Origin } from '../causes.ts'
import type { Dependant } from '../dependency-gate.ts'
import { JobUnit } from '../jobs/job-unit.ts'
import type { ScheduleMesh } from '../jobs/schedule-mesh.ts'
import { isJob } from '../jobs/terms.ts'
import type { UnitSpec } from '../launch.ts'
import { Opening } from '../opening.ts'
import { deleteScale, deleteSlotRecord, readScale, writeScale } from '../slot-record.ts'
import type { InstanceStatus, StoppedInstance } from '../status.ts'
import { isWorthwhile, type RolloutSeams } from '../rollout.ts'
import { type SlotSeams, UnitSlot } from '../unit.ts'
import type { Inheritance } from './inheritance.ts'
import { type PlannedRollout, Rolling } from './rolling.ts'
import type { StatusNews } from './status-news.ts'

export interface OwnedUnitSeams {
  readonly slot: SlotSeams
  readonly mesh: ScheduleMesh
  readonly store: Store
  readonly inheritance: Pick<Inheritance, 'take' | 'peek'>
  readonly news: Pick<StatusNews, 'changed' | 'gone' | 'forget'>
  readonly tasks: TaskGroup
  /** See `SupervisorSeams`. */
  readonly announced: RolloutSeams['announced']
  /** Aborts when the supervisor ends, and nothing is waited for any more. */
  readonly life: AbortSignal
}

/** How the replicas of a unit are restarted. `in turn`: one after the other, so that some serve at any time. */
export type RestartMode = 'in turn' | 'at once' | 'force'

/** What a turn of a rollout may take beyond drain, grace and start: the kill of what does not end. */
const TURN_SLACK_MS = 30_000

/** A managed or integrated unit: the replicas that are kept running, and its runs as a job. */
export class OwnedUnit implements Dependant {
  readonly jobs: JobUnit
  readonly #seams: OwnedUnitSeams
  readonly #runDir: string
  /** Those too many are among them until they are gone. */
  readonly #replicas: UnitSlot[] = []
  readonly #opening: Opening
  readonly #rolling: Rolling<UnitSlot>
  #spec: UnitSpec

  constructor(seams: OwnedUnitSeams, spec: UnitSpec, runDir: string) {
    this.#seams = seams
    this.#spec = spec
    this.#runDir = runDir
    const { slot, mesh, inheritance, news } = seams
    const { name } = spec
    this.#opening = new Opening(name, slot.clock)
    const { tasks, announced } = seams
    this.#rolling = new Rolling({ clock: slot.clock, tell: slot.publish, tasks, announced })
    const jobSeams = {
      ...slot,
      mesh,
      peekRecord: (lane: number) => inheritance.peek(name, lane),
      takeRecord: (lane: number) => inheritance.take(name, lane),
      shown: () => this.jobs.statuses.forEach((status) => news.changed(status)),
    }
    this.jobs = new JobUnit(jobSeams, spec, runDir)
  }

  get spec(): UnitSpec {
    return this.#spec
  }

  get isJob(): boolean {
    return isJob(this.#spec.config)
  }

  /** Those that are kept running, and those that are ending because they are too many. */
  get replicas(): readonly UnitSlot[] {
    return this.#replicas
  }

  /** All slots: the replicas, and the runs. */
  get slots(): readonly UnitSlot[] {
    return [...this.#replicas, ...this.jobs.slots]
  }

  get statuses(): readonly InstanceStatus[] {
    return [...this.#replicas.map((slot) => slot.status), ...this.jobs.statuses]
  }

  /** Goes on with what an earlier node left, or starts afresh; resolves when it is known what is there. */
  async begin(): Promise<void> {
    try {
      await this.#resize(await this.#wantedReplicas())
      await this.jobs.begin()
    } finally {
      this.#opening.open()
    }
    this.#replaceOutdated()
  }

  /** From now on it is this that is wanted; nothing is done yet. */
  describe(spec: UnitSpec): void {
    this.#spec = spec
  }

  /** Lets replicas and runs follow the description: in turn those that need a new process, when others serve meanwhile. */
  reconfigure(): void {
    for (const slot of this.#replicas) slot.reconfigure(this.#spec)
    this.jobs.reconfigure(this.#spec)
    this.#replaceOutdated()
  }

  #replaceOutdated(): void {
    const isDue = (slot: UnitSlot): boolean => slot.isOutdated
    const replace = (slot: UnitSlot, origin?: Origin): void => slot.changeOver(origin)
    this.#replaceSome('its configuration changed', undefined, isDue, replace)
  }

  /** New processes for a reason that no person gave: in turn, when others serve meanwhile. */
  renew(reason: string, origin: Origin): void {
    const isDue = ({ status }: UnitSlot): boolean => status.want === 'up'
    this.#replaceSome(reason, origin, isDue, (slot, own = origin) => slot.renew(reason, own))
  }

  /** Asks all that waits for a dependency to look again. */
  reconsider(): void {
    for (const slot of this.slots) slot.reconsider()
  }

  /** As many replicas as are wanted; resolves when surplus ones are gone. */
  async fit(): Promise<void> {
    await this.#resize(await this.#wantedReplicas())
  }

  /** So many replicas until the configured number changes; resolves when surplus ones are gone. */
  async scale(replicas: number, request: () => Origin | undefined): Promise<void> {
    await writeScale(this.#seams.store, this.#spec.name, this.#spec.config.replicas, replicas)
    await this.#resize(replicas, request())
  }

  /** Wants it up, or runs it once. @throws as `UnitSlot.start` and `JobUnit.run` */
  async start(signal: AbortSignal, origin?: Origin, asker?: Asker, args: readonly string[] = []): Promise<void> {
    if (!this.#opening.isOpen) await this.#opening.enter(signal)
    this.#opening.refuseWhenClosing()
    if (this.isJob) await this.jobs.run({ cause: 'person', actor: asker?.actor ?? '', args, origin })
    else await withSignalEach(signal, this.#kept, (slot, inner) => slot.requests.start(inner, origin, args))
  }

  /** Starts what of it sleeps; leaves alone what is down for another reason. @throws as `UnitSlot.start` */
  async wake(signal: AbortSignal, origin?: Origin): Promise<void> {
    if (!this.#opening.isOpen) await this.#opening.enter(signal)
    this.#opening.refuseWhenClosing()
    const sleeping = this.#kept.filter(({ isWakeable }) => isWakeable)
    await withSignalEach(signal, sleeping, (slot, inner) => slot.requests.start(inner, origin))
  }

  /** Puts replicas to sleep, but for the first `keep`. */
  sleep(keep: number, reason: string): void {
    for (const slot of this.#kept.slice(keep)) slot.sleep(reason, { causedBy: '' })
  }

  /** @throws as `UnitSlot.restart`, `Rolling.run` and `JobUnit.run` */
  async restart(signal: AbortSignal, origin?: Origin, asker?: Asker, mode: RestartMode = 'in turn'): Promise<void> {
    if (!this.#opening.isOpen) await this.#opening.enter(signal)
    this.#opening.refuseWhenClosing()
    const kept = this.#kept
    if (this.isJob) {
      await this.jobs.stop()
      await this.start(signal, origin, asker)
    } else if (mode === 'in turn' && isWorthwhile(kept, kept)) {
      await this.#rolling.run(this.#restartInTurn(origin), signal)
    } else {
      this.#rolling.giveUp('all replicas are restarted at once')
      await withSignalEach(signal, kept, (slot, inner) => slot.requests.restart(inner, origin, mode === 'force'))
    }
  }

  #restartInTurn(origin: Origin = { causedBy: '' }): PlannedRollout<UnitSlot> {
    // One that somebody stops meanwhile is not to be started again.
    const down = new Set(this.#kept.filter(({ status }) => status.want === 'down'))
    const isDue = (slot: UnitSlot): boolean => slot.status.want === 'up' || down.has(slot)
    return {
      ...this.#rollout('restart', origin, () => this.#kept),
      isDue,
      replace: (slot, own, signal) => slot.requests.restart(signal, own),
    }
  }

  #replaceSome(
    reason: string,
    origin: Origin | undefined,
    isDue: (slot: UnitSlot) => boolean,
    replace: (slot: UnitSlot, origin?: Origin) => void,
  ): void {
    const { tasks, slot } = this.#seams
    const due = (): readonly UnitSlot[] => this.#kept.filter(isDue)
    if (!isWorthwhile(this.#kept, due())) {
      this.#replicas.filter(isDue).forEach((each) => replace(each))
      return
    }
    const plan = { ...this.#rollout(reason, origin ?? { causedBy: slot.nodeEvent() }, due), isDue, replace }
    tasks.run((signal) =>
      this.#rolling.run(plan, signal).catch((error: unknown) => {
        if (!signal.aborted) slot.log.warn('replicas were not replaced', { unit: plan.unit, cause: messageOf(error) })
      }),
    )
  }

  #rollout(
    reason: string,
    origin: Origin,
    slots: () => readonly UnitSlot[],
  ): Pick<PlannedRollout<UnitSlot>, 'unit' | 'reason' | 'origin' | 'slots' | 'turnMs'> {
    const { stop, probes } = this.#spec.config
    const turnMs = stop.drain + stop.grace + probes.start.within + TURN_SLACK_MS
    return { unit: this.#spec.name, reason, origin, slots, turnMs }
  }

  /** Resolves when its processes are gone, with how each of them ended. @throws as `UnitSlot.stop` */
  async stop(signal: AbortSignal, origin?: Origin): Promise<readonly StoppedInstance[]> {
    if (!this.#opening.isOpen) await this.#opening.enter(signal)
    this.#rolling.giveUp('the unit is being stopped')
    const slots = withSignalEach(signal, this.#replicas, (slot, inner) => slot.requests.stop(inner, origin))
    const [runs, replicas] = await Promise.all([this.jobs.stop(), slots])
    return [...runs, ...replicas.flat()]
  }

  /** Does something to all slots once it is known which there are. @throws HsuError `TIMED_OUT`, what `task` throws */
  async each(task: (slot: UnitSlot) => Promise<void>): Promise<void> {
    if (!this.#opening.isOpen) await this.#opening.enter(this.#seams.life)
    await Promise.all(this.slots.map(task))
  }

  /** From now on nothing is begun here: it is about to end. */
  beginClosing(): void {
    this.#opening.beginClosing()
    this.#rolling.giveUp('the unit is about to end')
  }

  /** Stops it because the node stops: what was wanted of it stays as it was. */
  async close(origin: Origin): Promise<void> {
    this.beginClosing()
    await Promise.all([this.jobs.close(), ...this.#replicas.map((slot) => slot.close(origin))])
  }

  /** Lets go of all processes without touching them. */
  async abandon(): Promise<void> {
    await Promise.all([this.jobs.abandon(), ...this.#replicas.map((slot) => slot.abandon())])
  }

  /** Stops it for good and forgets what was written down of it. */
  async remove(): Promise<void> {
    this.beginClosing()
    await Promise.all([this.jobs.remove(), ...this.#replicas.map((slot) => this.#retire(slot))])
    await deleteScale(this.#seams.store, this.#spec.name)
  }

  async #wantedReplicas(): Promise<number> {
    const { name, config } = this.#spec
    if (this.isJob) return 0
    const { store, slot } = this.#seams
    return (await readScale(store, name, config.replicas, slot.log)) ?? config.replicas
  }

  async #resize(replicas: number, origin?: Origin): Promise<void> {
    const surplus = this.#replicas.slice(replicas)
    for (let replica = this.#replicas.length; replica < replicas; replica += 1) {
      const slot = new UnitSlot(this.#seams.slot, this.#spec, replica, this.#runDir)
      this.#replicas.push(slot)
      await slot.begin(this.#seams.inheritance.take(this.#spec.name, replica))
    }
    await Promise.all(surplus.map((slot) => this.#retire(slot, origin)))
  }

  /** Those that are not too many. */
  get #kept(): readonly UnitSlot[] {
    return this.#replicas.filter(({ isClosing }) => !isClosing)
  }

  /** Stops a slot for good. It is listed until its processes are gone. */
  async #retire(slot: UnitSlot, origin: Origin = { causedBy: this.#seams.slot.nodeEvent() }): Promise<void> {
    const { store, news, life } = this.#seams
    slot.beginClosing()
    try {
      await slot.requests.stop(life, origin)
      await slot.close()
    } finally {
      this.#replicas.splice(this.#replicas.indexOf(slot), 1)
    }
    await deleteSlotRecord(store, slot.unit, slot.replica)
    news.forget(slot)
    news.gone(slot.status)
  }
}
