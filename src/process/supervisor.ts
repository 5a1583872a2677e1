import { constants } from 'node:os'
import { isDeepStrictEqual } from 'node:util'
import { aborted, withSignal } from '../base/abort.ts'
import { HsuError } from '../base/error.ts'
import type { Clock } from '../base/clock.ts'
import type { Service } from '../base/lifecycle.ts'
import type { Log } from '../base/log.ts'
import type { Random } from '../base/random.ts'
import type { Store } from '../base/store.ts'
import { createTaskGroup } from '../base/task-group.ts'
import { createTopic, type Topic } from '../base/topic.ts'
import type { Obstacle } from './admission.ts'
import { type Asker, countingIds, type NewEvent, type Operation, type Origin, requested } from './causes.ts'
import type { FindConfig } from './config.ts'
import { dependantsFirst, findCycle, startOrder } from './dependencies.ts'
import { type Dependant, DependencyGate, type Elsewhere } from './dependency-gate.ts'
import { type MainPidOf, systemctlMainPid } from './find-service.ts'
import type { ProcessHost } from './host.ts'
import type { ProcessIdentity } from './identity.ts'
import { createJobDesk, type Jobs } from './jobs/desk.ts'
import { JobUnit } from './jobs/job-unit.ts'
import { forgetRuns } from './jobs/run-record.ts'
import { aloneSchedules, type ScheduleMesh } from './jobs/schedule-mesh.ts'
import { isJob } from './jobs/terms.ts'
import type { EnvironmentOf, UnitSpec } from './launch.ts'
import { clearRecord, clearStray } from './leftovers.ts'
import { type Look, lookFor } from './look.ts'
import { createMeter, type Meter } from './meter.ts'
import { createOutput, type LogLine, type LogQuery, type Output } from './output.ts'
import { createPortBook, type PortBook } from './ports.ts'
import { type Portrait, portray } from './portrait.ts'
import type { GrpcProber } from './probes/grpc.ts'
import {
  deleteScale,
  deleteSlotRecord,
  readScale,
  readSlotRecords,
  type SlotRecord,
  writeScale,
} from './slot-record.ts'
import type { InstanceStatus, ProcessEvent, StoppedInstance } from './status.ts'
import { UnitSlot } from './unit.ts'
import type { FileWatcher } from './watch/file-watcher.ts'
import { createWatches, type Watches } from './watch/watches.ts'
import { UnmanagedUnit } from './unmanaged.ts'
import { createUsageHistory, type UsageQuery, type UsageSeries } from './usage-history.ts'

/** How often the usage of units is read. Kubernetes reads every 10 s; people who look want news sooner. */
const METER_MS = 2_000

/** How often that of units with limits is. */
const LIMIT_METER_MS = 1_000
/** A line of the log. */
const SHADOWED = 'a unit of the configuration has the name of an attached one and wins; hsu detach removes that one'

/** Keeps the units of this machine as they are wanted. */
export interface Supervisor extends Service {
  /**
   * Makes the set of units equal to `specs`: adds, removes (stops), restarts those whose launch changed. What an
   * earlier node left is taken over. Starts in dependency order; resolves without waiting for readiness.
   *
   * @throws HsuError `CONFIG_INVALID` for a cycle in `depends_on`, `NOT_STARTED` before `start`
   */
  apply(specs: readonly UnitSpec[]): Promise<void>
  /** From memory, cheap; in the order of `apply`. */
  readonly status: () => readonly InstanceStatus[]
  spec(unit: string): UnitSpec | undefined
  /**
   * Wants the unit up; resolves when it is on its way or waits for a dependency. Idempotent. `args` are put behind
   * those of the configuration, for this start and the restarts that follow from it. A job is run once.
   *
   * @throws HsuError `UNIT_NOT_FOUND`, `UNIT_NOT_MANAGED`, `SPAWN_FAILED`, `UNIT_FAILED`, `UNSUPPORTED`,
   * `ALREADY_RUNNING` for arguments that come too late, or for a job whose terms forbid another run now
   */
  startUnit(unit: string, signal: AbortSignal, asker?: Asker, args?: readonly string[]): Promise<void>
  /** Resolves when its processes are gone, with how each of them ended. @throws HsuError `UNIT_NOT_FOUND`, `UNIT_NOT_MANAGED` */
  stopUnit(unit: string, signal: AbortSignal, asker?: Asker): Promise<readonly StoppedInstance[]>
  /** As `stopUnit` for all units that are not unmanaged: dependants first, otherwise side by side. */
  stopAllUnits(signal: AbortSignal, asker?: Asker): Promise<readonly StoppedInstance[]>
  /**
   * Single flight: concurrent calls join the restart that has not spawned yet. `force` waits for no drain, no dependency
   * and no backoff. @throws as `startUnit`
   */
  restartUnit(unit: string, signal: AbortSignal, asker?: Asker, force?: boolean): Promise<void>
  /** Ends it by force; a managed unit then follows its restart policy. @throws HsuError `UNIT_NOT_FOUND`, `NOT_PERMITTED` */
  killUnit(unit: string, asker?: Asker): Promise<void>
  /** Signals the unit's own program. @throws HsuError `UNIT_NOT_FOUND`, `NOT_PERMITTED`, `NOT_STARTED`, `USAGE` */
  signalUnit(unit: string, signalName: string, asker?: Asker): Promise<void>
  /** Changes the number of replicas until the configured number changes. @throws HsuError `UNIT_NOT_FOUND`, `UNIT_NOT_MANAGED`, `USAGE` */
  scaleUnit(unit: string, replicas: number, signal: AbortSignal, asker?: Asker): Promise<void>
  /**
   * Adds an unmanaged unit to those of `apply`, until it is detached. A unit of that name among them wins: then the answer
   * is false, and this one waits until that is gone. `known` = as what it was found.
   */
  attachUnit(spec: UnitSpec, known?: ProcessIdentity): Promise<boolean>
  /** Forgets such a unit; its process is not touched. False when there is none. */
  detachUnit(unit: string): Promise<boolean>
  /** Looks once for a process. @throws HsuError `PROCESS_NOT_FOUND`, `UNSUPPORTED` */
  lookFor(find: FindConfig, aim: LookAim, signal: AbortSignal): Promise<Look>
  /** How the process of an unmanaged unit was started. @throws HsuError `UNIT_NOT_FOUND`, `NOT_STARTED`, `USAGE`, `NOT_PERMITTED` */
  portrayUnit(unit: string): Promise<Portrait>
  /** Adds an event to those of the units and returns its id. */
  tell(event: NewEvent): string
  /** Runs of units as jobs. */
  readonly jobs: Jobs
  /** Each change of state, readiness, pid or ports. */
  readonly changes: Topic<InstanceStatus>
  readonly events: Topic<ProcessEvent>
  /** What the units used in the last hour. @throws HsuError `UNIT_NOT_FOUND` */
  usage(query: UsageQuery): readonly UsageSeries[]
  /** Lines of the units, merged by time. @throws HsuError `UNIT_NOT_FOUND` */
  logs(query: LogQuery, signal: AbortSignal): AsyncIterable<LogLine>
  /** Lets go of all units without stopping them: another node with the same directories takes them over. */
  abandon(): Promise<void>
}

/** Around whom, and from where, a process is looked for. */
export interface LookAim {
  /** What a relative path is relative to. */
  readonly baseDir: string
  /** Processes that are not meant: those of whoever asks. */
  readonly notPids: readonly number[]
}

export interface SupervisorSeams {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly store: Store
  readonly host: ProcessHost
  readonly grpc: GrpcProber
  readonly environmentOf: EnvironmentOf
  /** Called before the stop signal of an instance that was ready: withdraw its endpoints, wait. Bounded by `stop.drain`. */
  readonly drain: (unit: string, instance: string, signal: AbortSignal) => Promise<void>
  /** The other nodes, for schedules of `scope: mesh`. Default: there are none. */
  readonly scheduleMesh?: ScheduleMesh
  /** Gives the ids of events. Default: numbers that begin anew with each supervisor. */
  readonly nextEventId?: () => string
  /** Id of the event that tells what the node itself is doing; '' = nothing is known of it. */
  readonly nodeEvent?: () => string
  /** The units of other nodes. Default: this node is alone. */
  readonly elsewhere?: Elsewhere
  /** Where the output of units goes. Default: files in `logDir`. */
  readonly output?: Output
  /** Tells of changes of files. Default: chokidar, loaded when a unit has files to watch. */
  readonly fileWatcher?: FileWatcher
}

export interface SupervisorConfig {
  /** Files of running instances; must outlive the node. Absolute. */
  readonly runDir: string
  /** What the units wrote. Absolute. */
  readonly logDir: string
  /** True when this goes on where another supervisor stopped a moment ago: what was stopped stays so, whatever its policy. */
  readonly goesOn?: boolean
}

export function createSupervisor(seams: SupervisorSeams, config: SupervisorConfig): Supervisor {
  return new UnitSupervisor(seams, config)
}

interface Owned {
  spec: UnitSpec
  readonly slots: UnitSlot[]
  readonly jobs: JobUnit
}

/** An unmanaged unit that people added, and as what it was found then. */
interface Attached {
  readonly spec: UnitSpec
  readonly known: ProcessIdentity | undefined
}

interface Watched {
  spec: UnitSpec
  readonly watched: UnmanagedUnit
}

class UnitSupervisor implements Supervisor {
  readonly name = 'supervisor'
  readonly changes = createTopic<InstanceStatus>()
  readonly events = createTopic<ProcessEvent>()
  readonly #seams: SupervisorSeams
  readonly #config: SupervisorConfig
  readonly #log: Log
  readonly #meter: Meter
  readonly #limitMeter: Meter
  readonly #history = createUsageHistory()
  readonly #output: Output
  readonly #ports: PortBook
  readonly #watches: Watches
  readonly #gate: DependencyGate
  readonly #tasks
  readonly #units = new Map<string, Owned | Watched>()
  /** Those of `#units` that were attached, and those that would be but for a unit of the configuration. */
  readonly #attached = new Map<string, Attached>()
  readonly #mainPidOf: MainPidOf
  /** What earlier nodes wrote down, until a slot takes it. */
  #records = new Map<string, SlotRecord>()
  #begun: 'no' | 'yes' | 'over' | 'abandoned' = 'no'
  /** Changes of the set of units, one at a time. */
  #changing: Promise<unknown> = Promise.resolve()
  readonly #published = new Map<string, string>()
  readonly #nextEventId: () => string
  readonly #nodeEvent: () => string
  readonly jobs = createJobDesk({
    unitOf: (unit) => this.#owned(unit).jobs,
    request: (unit, operation, asker) => ({ causedBy: this.tell(requested(unit, operation, asker)) }),
    logs: (query, signal) => this.logs(query, signal),
  })

  constructor(seams: SupervisorSeams, config: SupervisorConfig) {
    const { clock, log, host } = seams
    this.#seams = seams
    this.#config = config
    this.#nextEventId = seams.nextEventId ?? countingIds()
    this.#nodeEvent = seams.nodeEvent ?? (() => '')
    this.#log = log
    this.#limitMeter = createMeter({ clock, table: host.table, log }, { intervalMs: LIMIT_METER_MS })
    const onReading = (): void => this.#history.note(this.status(), { wallMs: clock.wallMs(), nowMs: clock.nowMs() })
    this.#meter = createMeter({ clock, table: host.table, log, onReading }, { intervalMs: METER_MS })
    this.#output =
      seams.output ??
      createOutput(
        { clock, log, run: host.run, tell: (event) => this.tell(event) },
        { logDir: config.logDir, parseOf: (unit) => this.spec(unit)?.config.logs.parse ?? 'auto' },
      )
    this.#ports = createPortBook(host)
    this.#watches = createWatches(
      {
        clock,
        log,
        tell: (event) => this.tell(event),
        watcher: async () => seams.fileWatcher ?? (await import('./watch/chokidar-watcher.ts')).chokidarWatcher(clock),
      },
      {
        renew: (unit, reason, causedBy) => this.#slotsNamed(unit).forEach((slot) => slot.renew(reason, { causedBy })),
        signal: async (unit, name) => {
          await Promise.all(this.#slotsNamed(unit).map((slot) => slot.signal(name)))
        },
      },
    )
    this.#mainPidOf = systemctlMainPid(host.run, host.environment(), log)
    this.#tasks = createTaskGroup((error) => log.error('supervision met a fault', { error }))
    this.#gate = new DependencyGate({
      clock,
      log,
      tasks: this.#tasks,
      tell: (event) => this.tell(event),
      read: (query, signal) => this.#output.query(query, signal),
      elsewhere: seams.elsewhere,
      dependants: () => [...this.#units.values()].filter(isOwned).map(dependant),
      statusesOf: (name) => {
        const unit = this.#units.get(name)
        return unit === undefined ? undefined : statusesOf(unit)
      },
    })
  }

  readonly status = (): readonly InstanceStatus[] => [...this.#units.values()].flatMap(statusesOf)

  spec(unit: string): UnitSpec | undefined {
    return this.#units.get(unit)?.spec
  }

  async start(): Promise<void> {
    const { store, host } = this.#seams
    const records = await readSlotRecords(store, this.#log)
    this.#records = new Map(records.map((record) => [slotName(record), record]))
    await this.#meter.start()
    await this.#limitMeter.start()
    const known = new Set(records.map(({ instance }) => instance))
    const strays = (await host.instances(this.#config.runDir)).filter(({ instance }) => !known.has(instance))
    await Promise.all(strays.map((place) => this.#leave(clearStray(place, this.#leftoverSeams(), this.#tasks.signal))))
    this.#begun = 'yes'
  }

  async stop(): Promise<void> {
    if (this.#begun === 'abandoned') return
    if (this.#begun === 'yes') this.#begun = 'over'
    this.#gate.close()
    await this.#changing.catch(() => undefined)
    await this.#watches.close()
    try {
      const origin = { causedBy: this.#nodeEvent() }
      await this.#inReverseOrder(async ({ slots, jobs }) => {
        await Promise.all([jobs.close(), ...slots.map((slot) => slot.close(origin))])
      })
    } finally {
      await this.#end()
    }
  }

  async abandon(): Promise<void> {
    this.#begun = 'abandoned'
    this.#gate.close()
    await this.#changing.catch(() => undefined)
    await this.#watches.close()
    const owned = [...this.#units.values()].filter(isOwned)
    await Promise.all(owned.flatMap(({ slots, jobs }) => [jobs.abandon(), ...slots.map((slot) => slot.abandon())]))
    await this.#end()
  }

  async #end(): Promise<void> {
    await Promise.all([...this.#units.values()].flatMap((unit) => ('watched' in unit ? [unit.watched.end()] : [])))
    await this.#tasks.stop()
    await this.#meter.stop()
    await this.#limitMeter.stop()
    await this.#output.close()
  }

  apply(configured: readonly UnitSpec[]): Promise<void> {
    return this.#change(async () => {
      const specs = [...configured, ...this.#attachedBeside(configured)]
      const cycle = findCycle(specs)
      if (cycle !== undefined) {
        throw new HsuError('CONFIG_INVALID', `depends_on goes in a circle: ${cycle.join(' -> ')}`, {
          details: { cycle: cycle.join(' ') },
        })
      }
      const wanted = new Map(specs.map((spec) => [spec.name, spec]))
      const unchanged = new Set(specs.filter((spec) => isDeepStrictEqual(this.#units.get(spec.name)?.spec, spec)))
      // From here on what a unit depends on is what the new configuration says: what it drops is not lost to anybody.
      for (const unit of this.#units.values()) {
        const next = wanted.get(unit.spec.name)
        if (next !== undefined && isSameKind(unit.spec, next)) unit.spec = next
      }
      const outdated = [...this.#units.values()].filter(({ spec }) => !isSameKind(spec, wanted.get(spec.name)))
      await this.#remove(outdated.map(({ spec }) => spec.name))
      for (const spec of startOrder(specs)) {
        if (unchanged.has(spec)) this.#keep(spec.name)
        else await this.#put(spec)
      }
      await this.#clearRecords()
    })
  }

  async attachUnit(spec: UnitSpec, known?: ProcessIdentity): Promise<boolean> {
    const { name: unit } = spec
    const looked = await this.#change(async () => {
      this.#attached.set(unit, { spec, known })
      if (this.#units.has(unit)) {
        this.#log.warn(SHADOWED, { unit })
        return undefined
      }
      // In a box, or this change would last as long as the look.
      return { first: this.#watch(spec) }
    })
    await looked?.first
    return looked !== undefined
  }

  detachUnit(unit: string): Promise<boolean> {
    return this.#change(async () => {
      const wasAttached = this.#attached.delete(unit)
      const present = this.#units.get(unit)
      if (present === undefined || present.spec.origin === undefined) return wasAttached
      const [last] = statusesOf(present)
      await this.#remove([unit])
      if (last !== undefined) this.changes.publish({ ...last, state: 'absent', ready: false, pid: undefined })
      return wasAttached
    })
  }

  lookFor(find: FindConfig, { baseDir, notPids }: LookAim, signal: AbortSignal): Promise<Look> {
    const { host, clock } = this.#seams
    const seams = { clock, table: host.table, selfPid: process.pid, mainPidOf: this.#mainPidOf, baseDir, notPids }
    return lookFor(find, seams, signal)
  }

  async portrayUnit(unit: string): Promise<Portrait> {
    const found = this.#find(unit)
    if (!('watched' in found)) throw new HsuError('USAGE', `unit '${unit}' is managed already`, { details: { unit } })
    const { identity } = found.watched
    if (identity !== undefined) return portray(identity, this.#seams.host.table)
    throw new HsuError('NOT_STARTED', `unit '${unit}' has no process: it is ${found.watched.status.state}`, {
      details: { unit },
    })
  }

  /** The attached units that no unit of the configuration stands in for. */
  #attachedBeside(configured: readonly UnitSpec[]): readonly UnitSpec[] {
    const taken = new Set(configured.map(({ name }) => name))
    for (const unit of this.#attached.keys()) if (taken.has(unit)) this.#log.warn(SHADOWED, { unit })
    return [...this.#attached.values()].flatMap(({ spec }) => (taken.has(spec.name) ? [] : [spec]))
  }

  async startUnit(unit: string, signal: AbortSignal, asker?: Asker, args: readonly string[] = []): Promise<void> {
    const { spec, slots, jobs } = this.#owned(unit)
    const origin = this.#request(unit, 'start', asker)
    if (isJob(spec.config)) await jobs.run({ cause: 'person', actor: asker?.actor ?? '', args, origin })
    else await Promise.all(slots.map((slot) => slot.start(signal, origin, args)))
  }

  async stopUnit(unit: string, signal: AbortSignal, asker?: Asker): Promise<readonly StoppedInstance[]> {
    return this.#stopSlots(unit, this.#owned(unit), signal, asker)
  }

  async stopAllUnits(signal: AbortSignal, asker?: Asker): Promise<readonly StoppedInstance[]> {
    const stopped: StoppedInstance[] = []
    await this.#inReverseOrder(async (unit) => {
      // Whoever asked may have turned away in the meantime: then the rest goes on running.
      signal.throwIfAborted()
      if (slotsOf(unit).length > 0) stopped.push(...(await this.#stopSlots(unit.spec.name, unit, signal, asker)))
    })
    return stopped
  }

  async #stopSlots(
    unit: string,
    { slots, jobs }: Pick<Owned, 'slots' | 'jobs'>,
    signal: AbortSignal,
    asker?: Asker,
  ): Promise<readonly StoppedInstance[]> {
    const origin = this.#request(unit, 'stop', asker)
    return (await Promise.all([jobs.stop(), ...slots.map((slot) => slot.stop(signal, origin))])).flat()
  }

  async restartUnit(unit: string, signal: AbortSignal, asker?: Asker, force = false): Promise<void> {
    const { spec, slots, jobs } = this.#owned(unit)
    const origin = this.#request(unit, force ? 'forced restart' : 'restart', asker)
    if (isJob(spec.config)) {
      await jobs.stop()
      await jobs.run({ cause: 'person', actor: asker?.actor ?? '', args: [], origin })
    } else await Promise.all(slots.map((slot) => slot.restart(signal, origin, force)))
  }

  async killUnit(unit: string, asker?: Asker): Promise<void> {
    const found = this.#find(unit)
    const origin = this.#request(unit, 'kill', asker)
    if ('watched' in found) return found.watched.signal('SIGKILL', origin)
    await Promise.all(slotsOf(found).map((slot) => slot.kill(origin)))
  }

  async signalUnit(unit: string, signalName: string, asker?: Asker): Promise<void> {
    const found = this.#find(unit)
    const name = signalNamed(signalName)
    const origin = this.#request(unit, 'signal', asker, `signal ${name.replace('SIG', '')}`)
    if ('watched' in found) return found.watched.signal(name, origin)
    await Promise.all(slotsOf(found).map((slot) => slot.signal(name)))
  }

  async scaleUnit(unit: string, replicas: number, signal: AbortSignal, asker?: Asker): Promise<void> {
    const scaled = this.#change(async () => {
      signal.throwIfAborted()
      const owned = this.#owned(unit)
      const { config } = owned.spec
      if (isJob(config)) throw new HsuError('USAGE', `unit '${unit}' is a job: it has runs, not replicas`)
      const fixed = Object.entries(config.ports).find(([, port]) => port !== 'auto')
      if (!Number.isInteger(replicas) || replicas < 0)
        throw new HsuError('USAGE', 'replicas must be a whole number, 0 or more')
      if (replicas > 1 && fixed !== undefined) {
        throw new HsuError(
          'USAGE',
          `unit '${unit}' has the fixed port '${fixed[0]}'; make it 'auto' to run several replicas`,
        )
      }
      await writeScale(this.#seams.store, unit, config.replicas, replicas)
      await this.#resize(owned, replicas, this.#request(unit, 'scale', asker, `scale to ${replicas}`))
    })
    // Who asked may turn away; a slot half retired would leave its process to nobody.
    await withSignal(signal, (inner) => Promise.race([scaled, aborted(inner)]))
    signal.throwIfAborted()
  }

  tell(event: NewEvent): string {
    const id = this.#nextEventId()
    this.events.publish({ causedBy: '', actor: '', ...event, id, wallMs: this.#seams.clock.wallMs() })
    return id
  }

  /** Writes down that somebody asked for something; nobody did when `asker` is undefined. */
  #request(unit: string, operation: Operation, asker: Asker | undefined, what?: string): Origin | undefined {
    return asker && { causedBy: this.tell(requested(unit, operation, asker, what)) }
  }

  usage(query: UsageQuery): readonly UsageSeries[] {
    for (const unit of query.units) this.#find(unit)
    return this.#history.query(query)
  }

  async *logs(query: LogQuery, signal: AbortSignal): AsyncGenerator<LogLine, void> {
    for (const unit of query.units) this.#find(unit)
    yield* this.#output.query(query, signal)
  }

  /** Adds or updates one unit. A fault of one never keeps the others from starting. */
  async #put(spec: UnitSpec): Promise<void> {
    const present = this.#units.get(spec.name)
    try {
      if (present === undefined) await this.#add(spec)
      else if ('watched' in present) {
        present.spec = spec
        await present.watched.reconfigure(spec)
      } else await this.#update(present, spec)
      await this.#watches.put(spec)
    } catch (error) {
      this.#log.error('unit cannot be supervised', { unit: spec.name, error })
    }
  }

  /** What has not changed is not touched; what it depends on may have. */
  #keep(name: string): void {
    const unit = this.#units.get(name)
    if (unit === undefined || 'watched' in unit) return
    this.#gate.settle(unit)
    for (const slot of unit.slots) slot.reconsider()
  }

  async #add(spec: UnitSpec): Promise<void> {
    this.#remark(spec)
    if (spec.config.kind === 'unmanaged') {
      void this.#watch(spec)
      return
    }
    const jobs: JobUnit = new JobUnit(
      this.#jobSeams(spec.name, () => jobs),
      spec,
      this.#config.runDir,
    )
    const owned: Owned = { spec, slots: [], jobs }
    this.#units.set(spec.name, owned)
    await this.#gate.begin(dependant(owned), async () => {
      await this.#resize(owned, await this.#replicasOf(spec))
      await jobs.begin()
    })
  }

  #jobSeams(unit: string, jobs: () => JobUnit) {
    const key = (replica: number): string => slotName({ unit, replica })
    return {
      ...this.#slotSeams(),
      mesh: this.#seams.scheduleMesh ?? aloneSchedules(),
      peekRecord: (lane: number) => this.#records.get(key(lane)),
      takeRecord: (lane: number) => {
        const record = this.#records.get(key(lane))
        this.#records.delete(key(lane))
        return record
      },
      shown: () => {
        for (const status of jobs().statuses) this.#changed(status)
      },
    }
  }

  /** Adds an unmanaged unit; resolves when it was first looked for. */
  #watch(spec: UnitSpec): Promise<void> {
    const watched = new UnmanagedUnit(this.#unitSeams(), spec)
    this.#units.set(spec.name, { spec, watched })
    return watched.begin(this.#attached.get(spec.name)?.known)
  }

  async #update(owned: Owned, spec: UnitSpec): Promise<void> {
    owned.spec = spec
    for (const slot of owned.slots) slot.reconfigure(spec)
    owned.jobs.reconfigure(spec)
    this.#gate.settle(dependant(owned))
    for (const slot of owned.slots) slot.reconsider()
    await this.#resize(owned, await this.#replicasOf(spec))
  }

  async #replicasOf({ name, config }: UnitSpec): Promise<number> {
    if (isJob(config)) return 0
    return (await readScale(this.#seams.store, name, config.replicas, this.#log)) ?? config.replicas
  }

  async #resize(owned: Owned, replicas: number, origin?: Origin): Promise<void> {
    const surplus = owned.slots.splice(replicas)
    for (let replica = owned.slots.length; replica < replicas; replica += 1) {
      const slot = new UnitSlot(this.#slotSeams(), owned.spec, replica, this.#config.runDir)
      owned.slots.push(slot)
      const record = this.#records.get(slotName(slot))
      this.#records.delete(slotName(slot))
      await slot.begin(record)
    }
    await Promise.all(surplus.map((slot) => this.#retire(slot, origin)))
  }

  /** Stops a slot for good. */
  async #retire(slot: UnitSlot, origin: Origin = { causedBy: this.#nodeEvent() }): Promise<void> {
    await slot.stop(this.#tasks.signal, origin)
    await slot.close()
    await deleteSlotRecord(this.#seams.store, slot.unit, slot.replica)
    this.#published.delete(slotName(slot))
  }

  /** Stops these units, dependants first, and forgets them. */
  async #remove(names: readonly string[]): Promise<void> {
    await this.#inReverseOrder(async (unit) => {
      for (const slot of unit.slots.splice(0)) await this.#retire(slot)
      await unit.jobs.remove()
    }, names)
    for (const name of names) {
      await this.#watches.delete(name)
      const unit = this.#units.get(name)
      this.#gate.forget(name)
      if (unit !== undefined && 'watched' in unit)
        await unit.watched.end(this.#attached.has(name) ? 'for now' : 'for good')
      else await deleteScale(this.#seams.store, name)
      this.#units.delete(name)
    }
  }

  /** What earlier nodes ran and is not wanted any more. */
  async #clearRecords(): Promise<void> {
    await forgetRuns(this.#seams.store, (unit) => this.#units.has(unit))
    const records = [...this.#records.values()]
    this.#records.clear()
    const { runDir } = this.#config
    const seams = this.#leftoverSeams()
    await Promise.all(records.map((record) => this.#leave(clearRecord(record, runDir, seams, this.#tasks.signal))))
  }

  /** What cannot be cleared away is no reason not to run the rest. */
  async #leave(clearing: Promise<void>): Promise<void> {
    await clearing.catch((error: unknown) =>
      this.#log.error('an instance of an earlier node cannot be cleared away', { error }),
    )
  }

  /** Runs `task` for each owned unit once it has ended for those that depend on it. */
  #inReverseOrder(
    task: (unit: Owned) => Promise<void>,
    names: readonly string[] = [...this.#units.keys()],
  ): Promise<void> {
    const specs = names.flatMap((name) => this.#units.get(name)?.spec ?? [])
    return dependantsFirst(specs, async ({ name }) => {
      const unit = this.#units.get(name)
      if (unit !== undefined && isOwned(unit)) await task(unit)
    })
  }

  /** For whom the start of `unit` waits; undefined when it may go on. */
  #admission(name: string): Obstacle | undefined {
    const unit = this.#units.get(name)
    return unit === undefined || !isOwned(unit) ? undefined : this.#gate.admission(dependant(unit))
  }

  #changed(status: InstanceStatus): void {
    const { instance, state, ready, pid, ports, reason, job } = status
    const text = JSON.stringify([instance, state, ready, pid, ports, reason, job?.active])
    if (this.#published.get(slotName(status)) === text) return
    this.#published.set(slotName(status), text)
    this.changes.publish(status)
    this.#gate.changed(status)
  }

  #change<T>(task: () => Promise<T>): Promise<T> {
    const changed = this.#changing
      .catch(() => undefined)
      .then(() => {
        if (this.#begun === 'yes') return task()
        throw new HsuError(
          'NOT_STARTED',
          `the supervisor ${this.#begun === 'no' ? 'is not started yet' : 'is stopped'}`,
        )
      })
    this.#changing = changed.catch(() => undefined)
    return changed
  }

  #find(name: string): Owned | Watched {
    if (this.#begun === 'abandoned') {
      throw new HsuError('NODE_DRAINING', 'the units of this node are being taken over by another process; try again', {
        details: { unit: name },
      })
    }
    const unit = this.#units.get(name)
    if (unit !== undefined) return unit
    throw new HsuError('UNIT_NOT_FOUND', `no unit '${name}' on this node; 'hsu ps' lists the units of the mesh`, {
      details: { unit: name },
    })
  }

  #owned(name: string): Owned {
    const unit = this.#find(name)
    if (!('watched' in unit)) return unit
    throw new HsuError('UNIT_NOT_MANAGED', `unit '${name}' is unmanaged: its process is watched, not owned`, {
      details: { unit: name },
    })
  }

  /** What the configuration asks for and this version does not do, said once when the unit is added. */
  #remark({ name, config }: UnitSpec): void {
    if (config.activation === 'on-call') {
      this.#log.warn('activation on-call is not supported yet; the unit is started at once', { unit: name })
    }
  }

  /** The slots of a unit that is ours; none of another. */
  #slotsNamed(name: string): readonly UnitSlot[] {
    const unit = this.#units.get(name)
    return unit === undefined || 'watched' in unit ? [] : unit.slots
  }

  #leftoverSeams() {
    const { clock, log, store, host } = this.#seams
    return { clock, log, store, host, output: this.#output }
  }

  #unitSeams() {
    const { clock, log, store, host, grpc } = this.#seams
    const mainPidOf = this.#mainPidOf
    const publish = (event: NewEvent): string => this.tell(event)
    const changed = (status: InstanceStatus): void => this.#changed(status)
    const meters = { meter: this.#meter, limitMeter: this.#limitMeter }
    return { clock, log, store, host, grpc, mainPidOf, ...meters, publish, changed }
  }

  #slotSeams() {
    const { random, environmentOf, drain } = this.#seams
    const admission = (unit: string): Obstacle | undefined => this.#admission(unit)
    return {
      ...this.#unitSeams(),
      random,
      environmentOf,
      drain,
      admission,
      ports: this.#ports,
      output: this.#output,
      nodeEvent: this.#nodeEvent,
      goesOn: this.#config.goesOn ?? false,
    }
  }
}

function isOwned(unit: Owned | Watched): unit is Owned {
  return 'slots' in unit
}

function statusesOf(unit: Owned | Watched): readonly InstanceStatus[] {
  return 'watched' in unit ? [unit.watched.status] : [...unit.slots.map((slot) => slot.status), ...unit.jobs.statuses]
}

/** All slots of a unit: its replicas, and the runs of it as a job. */
function slotsOf({ slots, jobs }: Owned): readonly UnitSlot[] {
  return [...slots, ...jobs.slots]
}

/** The unit as its dependencies concern it: runs of it as a job need them too. */
function dependant(unit: Owned): Dependant {
  return {
    spec: unit.spec,
    get slots() {
      return slotsOf(unit)
    },
  }
}

function slotName({ unit, replica }: { readonly unit: string; readonly replica: number }): string {
  return `${unit}/${replica}`
}

function isSameKind(present: UnitSpec, next: UnitSpec | undefined): boolean {
  if (next === undefined || isJob(present.config) !== isJob(next.config)) return false
  return (present.config.kind === 'unmanaged') === (next.config.kind === 'unmanaged')
}

/** Accepts `TERM`, `SIGTERM` and `term`. @throws HsuError `USAGE` */
function signalNamed(text: string): NodeJS.Signals {
  const name = `SIG${text.toUpperCase().replace(/^SIG/, '')}`
  if (Object.hasOwn(constants.signals, name)) return name as NodeJS.Signals
  throw new HsuError('USAGE', `'${text}' is no signal of this system; write one such as TERM, HUP or USR1`, {
    details: { signal: text },
  })
}
