import { HsuError } from '../../base/error.ts'
import type { Log } from '../../base/log.ts'
import { below } from '../../base/random.ts'
import { createTaskGroup } from '../../base/task-group.ts'
import type { Origin } from '../causes.ts'
import type { UnitSpec } from '../launch.ts'
import { deleteSlotRecord, type SlotRecord } from '../slot-record.ts'
import type { InstanceStatus, StoppedInstance } from '../status.ts'
import type { SlotSeams, UnitSlot } from '../unit.ts'
import { ActiveRun } from './active-run.ts'
import { FIRST_LANE_BESIDE, freeLane } from './lanes.ts'
import { admit, remembered, resume } from './plan.ts'
import { runEnded, runStarted } from './run-news.ts'
import { createRunsWriter, readRuns, type RunRecord, type UnitRuns } from './run-record.ts'
import { restingStatus } from './run-status.ts'
import type { ScheduleMesh } from './schedule-mesh.ts'
import { isJob, termsOf } from './terms.ts'
import { UnitSchedule } from './unit-schedule.ts'

/** The names of runs are eight hex digits of chance. */
const NAMES = 0x100000000

/** A run that somebody wants. */
export interface RunOrder {
  readonly cause: RunRecord['cause']
  readonly actor: string
  readonly args: readonly string[]
  readonly tickMs?: number | undefined
  readonly origin: Origin | undefined
}

export interface JobSeams extends SlotSeams {
  readonly mesh: ScheduleMesh
  /** Takes the record of a slot that an earlier node left, if there is one. */
  readonly takeRecord: (lane: number) => SlotRecord | undefined
  /** The record of a slot that an earlier node left, which stays for whoever clears it away. */
  readonly peekRecord: (lane: number) => SlotRecord | undefined
  /** Something that is shown of the runs has changed, though no slot has. */
  readonly shown: () => void
}

/** All runs of one unit as a job: those that run, those that ended, and when the next one is due. */
export class JobUnit {
  readonly #seams: JobSeams
  readonly #runDir: string
  readonly #log: Log
  readonly #writer
  readonly #tasks
  readonly #active = new Map<string, ActiveRun>()
  readonly #schedule: UnitSchedule
  #spec: UnitSpec
  #ended: readonly RunRecord[] = []
  #over = false
  /** Decisions about runs are made one at a time. */
  #deciding: Promise<unknown> = Promise.resolve()

  constructor(seams: JobSeams, spec: UnitSpec, runDir: string) {
    this.#seams = seams
    this.#spec = spec
    this.#runDir = runDir
    this.#log = seams.log.with({ unit: spec.name })
    this.#writer = createRunsWriter(seams.store, spec.name, this.#log)
    this.#tasks = createTaskGroup((error) => this.#log.error('the runs of a unit met a fault', { error }))
    this.#schedule = new UnitSchedule({ ...seams, tasks: this.#tasks }, spec.name, {
      run: (tickMs) => this.run({ cause: 'schedule', actor: '', args: [], tickMs, origin: undefined }),
      save: () => this.#save(),
      changed: () => seams.shown(),
    })
  }

  /** Those that are not at rest yet. */
  get #running(): readonly ActiveRun[] {
    return [...this.#active.values()].filter(({ record }) => record.state === 'running')
  }

  get slots(): readonly UnitSlot[] {
    return [...this.#active.values()].map(({ slot }) => slot)
  }

  /** Those that have not ended, and those that are remembered, oldest first. */
  get runs(): readonly RunRecord[] {
    const running = [...this.#active.values()].map(({ record }) => record)
    return [...this.#ended, ...running].sort((one, other) => one.startedAtMs - other.startedAtMs)
  }

  get nextMs(): number | undefined {
    return this.#schedule.nextMs
  }

  /** The runs as instances. A job of which nothing runs is shown as its last run. */
  get statuses(): readonly InstanceStatus[] {
    const { config } = this.#spec
    const job = { nextRunMs: this.nextMs, schedule: config.schedule?.cron ?? '', active: this.#running.length }
    const running = [...this.#active.values()].map(({ status, record }) => ({
      ...status,
      job: { ...job, run: record.id },
    }))
    if (running.length > 0 || !isJob(config)) return running
    const last = this.#ended.at(-1)
    return [{ ...restingStatus(this.#spec, last), job: { ...job, run: last?.id ?? '' } }]
  }

  /** Goes on with what an earlier node left, and begins to watch the schedule. */
  async begin(): Promise<void> {
    const { store, host } = this.#seams
    const known = await readRuns(store, this.#spec.name, this.#log)
    const bootId = await host.table.bootId()
    this.#ended = known?.runs.filter(({ state }) => state !== 'running') ?? []
    for (const run of known?.runs ?? []) if (run.state === 'running') await this.#resume(run, bootId)
    this.#schedule.watch(this.#spec.config.schedule, known, this.#seams.goesOn)
  }

  async #resume(run: RunRecord, bootId: string): Promise<void> {
    const next = resume(run, this.#seams.peekRecord(run.lane), bootId)
    if (next !== 'adopt' && next !== 'begin') {
      this.#remember({ ...run, ...next, endedAtMs: this.#seams.clock.wallMs() })
      return
    }
    const active = this.#activate(run)
    const left = this.#seams.takeRecord(run.lane)
    if (next === 'adopt' && left !== undefined) await active.adopt(left)
    else await active.begin()
  }

  reconfigure(spec: UnitSpec): void {
    const before = this.#spec.config.schedule
    this.#spec = spec
    const after = spec.config.schedule
    if (JSON.stringify(before) !== JSON.stringify(after)) this.#schedule.watch(after, this.#schedule.record, true)
  }

  /** Begins a run. Resolves when it is written down and on its way. @throws HsuError `ALREADY_RUNNING` when its terms forbid it now */
  run(order: RunOrder): Promise<ActiveRun> {
    const decided = this.#deciding.then(() => this.#decide(order))
    this.#deciding = decided.catch(() => undefined)
    return decided
  }

  async #decide(order: RunOrder): Promise<ActiveRun> {
    const { name, config } = this.#spec
    this.#refuseWhenOver()
    const { concurrency } = termsOf(config)
    const elsewhere = this.#busyElsewhere(order)
    switch (admit(concurrency, this.#running.length + elsewhere)) {
      case 'skip': {
        const where = this.#running.length === 0 ? ' on another node' : ''
        const why = concurrency === 'forbid' ? 'job.concurrency is forbid' : 'it has too many runs'
        const text = `unit '${name}' runs already${where}, and ${why}; wait for its end, or stop it`
        throw new HsuError('ALREADY_RUNNING', text, { details: { unit: name } })
      }
      case 'replace':
        if (elsewhere > 0) await this.#seams.mesh.stopElsewhere(name, this.#tasks.signal)
        await this.#endAll('replaced')
        this.#refuseWhenOver()
        break
      case 'start':
    }
    return this.#start(order)
  }

  /** @throws HsuError `NODE_DRAINING` */
  #refuseWhenOver(): void {
    if (!this.#over) return
    const text = `no run of unit '${this.#spec.name}' is begun any more: it is being shut down`
    throw new HsuError('NODE_DRAINING', text)
  }

  /** Only runs of a schedule that nodes share look at the other nodes: a person names the node. */
  #busyElsewhere({ cause }: RunOrder): number {
    return cause === 'schedule' ? this.#schedule.busyElsewhere : 0
  }

  async #start({ cause, actor, args, tickMs, origin }: RunOrder): Promise<ActiveRun> {
    const { clock, random, publish } = this.#seams
    const { name, config } = this.#spec
    const { deadline } = termsOf(config)
    const startedAtMs = clock.wallMs()
    const id = below(NAMES, random).toString(16).padStart(8, '0')
    const taken = [...this.#active.values()].map(({ record }) => record.lane)
    const active = this.#activate({
      id,
      lane: freeLane(taken, isJob(config) ? 0 : FIRST_LANE_BESIDE),
      ...{ cause, actor, startedAtMs },
      args: [...args],
      attempts: 0,
      instance: '',
      state: 'running',
      reason: '',
      eventId: publish(runStarted(name, id, { cause, tickMs }, origin)),
      ...(tickMs === undefined ? {} : { tickMs }),
      ...(deadline === undefined ? {} : { deadlineMs: startedAtMs + deadline }),
    })
    if (tickMs !== undefined) this.#schedule.begun(tickMs, startedAtMs)
    // Written down first: after a crash the next node finds the run, and does not begin another for the same moment.
    await this.#save()
    await active.begin()
    return active
  }

  #activate(record: RunRecord): ActiveRun {
    const active: ActiveRun = new ActiveRun(this.#seams, this.#spec, record, this.#runDir, {
      changed: () => void this.#save(),
      ended: () => this.#tasks.run(() => this.#retire(active)),
    })
    this.#active.set(record.id, active)
    return active
  }

  /** The outcome first, then the slot: a node that ends between the two has lost nothing. */
  async #retire(active: ActiveRun): Promise<void> {
    const eventId = this.#seams.publish(runEnded(this.#spec.name, active.record, active.slot.status.eventId))
    const record = { ...active.record, eventId }
    try {
      await this.#save()
      await active.close()
      await deleteSlotRecord(this.#seams.store, this.#spec.name, record.lane)
    } finally {
      // A record that cannot be deleted is cleared away by the next node; nobody is kept waiting for it.
      this.#active.delete(record.id)
      this.#remember(record)
      active.finish()
      this.#seams.shown()
    }
  }

  #remember(record: RunRecord): void {
    this.#ended = remembered([...this.#ended, record], termsOf(this.#spec.config).history)
    void this.#save()
  }

  /** Brings the runs to their end; resolves when they are gone, with how their processes ended. */
  async #endAll(ending: NonNullable<RunRecord['ending']>): Promise<readonly StoppedInstance[]> {
    const all = [...this.#active.values()]
    const stopped = await Promise.all(all.map((active) => active.end(ending)))
    await Promise.all(all.map(({ done }) => done))
    return stopped.flat()
  }

  /** Stops all runs; resolves when their processes are gone, with how they ended. */
  stop(): Promise<readonly StoppedInstance[]> {
    return this.#endAll('stopped')
  }

  /** Begins to end one run. @throws HsuError `RUN_NOT_FOUND` */
  stopRun(id: string, force: boolean): void {
    const active = this.#active.get(id)
    if (active === undefined) throw this.#noRun(id, ' that has not ended')
    void active.end('stopped', force)
  }

  /** One run, ended or not. @throws HsuError `RUN_NOT_FOUND` */
  find(id: string): Pick<ActiveRun, 'record' | 'done' | 'owns'> {
    const active = this.#active.get(id)
    if (active !== undefined) return active
    const record = this.#ended.find((run) => run.id === id)
    if (record === undefined) throw this.#noRun(id, '')
    return { record, done: Promise.resolve(), owns: (instance) => instance === record.instance }
  }

  #noRun(id: string, which: string): HsuError {
    const { name } = this.#spec
    const text = `unit '${name}' has no run '${id}'${which}; 'hsu runs ${name}' lists its runs`
    return new HsuError('RUN_NOT_FOUND', text, { details: { unit: name, run: id } })
  }

  /** The node ends in good order: so do the runs. */
  async close(): Promise<void> {
    this.#end()
    await Promise.all([...this.#active.values()].map((active) => active.close()))
    await Promise.all([...this.#active.values()].map(({ done }) => done))
    await this.#tasks.stop()
    await this.#writer.flush()
  }

  /** Lets go of the runs, which go on. */
  async abandon(): Promise<void> {
    this.#end()
    await Promise.all([...this.#active.values()].map((active) => active.abandon()))
    await this.#tasks.stop()
    await this.#writer.flush()
  }

  /** Ends the runs and forgets them. */
  async remove(): Promise<void> {
    this.#end()
    await this.stop()
    await this.#tasks.stop()
    await this.#writer.forget()
  }

  #end(): void {
    this.#over = true
    this.#schedule.stop()
  }

  #toSave(): UnitRuns {
    return { format: 1, unit: this.#spec.name, ...this.#schedule.record, runs: [...this.runs] }
  }

  async #save(): Promise<void> {
    await this.#writer.write(this.#toSave())
  }
}
