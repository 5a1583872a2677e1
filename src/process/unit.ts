import { join } from 'node:path'
import { HsuError, messageOf } from '../base/error.ts'
import type { Log } from '../base/log.ts'
import { below, type Random } from '../base/random.ts'
import type { Store } from '../base/store.ts'
import { createTaskGroup } from '../base/task-group.ts'
import type { Origin, Tell } from './causes.ts'
import type { Obstacle } from './admission.ts'
import type { Child, Left } from './host.ts'
import { captureOf, describeInstance, Instance, type InstanceSeams } from './instance.ts'
import { finishOutput } from './leftovers.ts'
import { launchHash, launchOf, type UnitSpec } from './launch.ts'
import { SlotLimits, type SlotLimitsSeams } from './limits/slot-limits.ts'
import type { PortBook } from './ports.ts'
import { createSlotWriter, type SlotRecord } from './slot-record.ts'
import { fromRecord, toRecord } from './slot-state.ts'
import type { InstanceStatus, StoppedInstance } from './status.ts'
import { createTrail } from './trail.ts'
import { newsOf } from './unit-news.ts'
import {
  INITIAL_STATE,
  STOPPED,
  step,
  type StepRules,
  timerOf,
  type UnitEffect,
  type UnitEvent,
  type UnitEventType,
  type UnitState,
} from './unit-state.ts'
import { sweep } from './terminate.ts'
import { createWaiters } from './waiters.ts'

/** The names of instances end in six hex digits of chance. */
const NAMES = 0x1000000

export interface SlotSeams extends Omit<InstanceSeams, 'tasks'> {
  readonly random: Random
  readonly store: Store
  readonly ports: PortBook
  /** Whether the unit's dependencies allow a start: undefined, or for whom it waits. */
  readonly admission: (unit: string) => Obstacle | undefined
  readonly publish: Tell
  /** Id of the event that tells what the node itself is doing: it starts, stops, takes a new configuration. */
  readonly nodeEvent: () => string
  readonly changed: (status: InstanceStatus) => void
  /** Measures often what has limits. */
  readonly limitMeter: SlotLimitsSeams['meter']
  /** See `SupervisorConfig`. */
  readonly goesOn: boolean
}

/** One replica slot of a managed or integrated unit: keeps what runs there in line with what is wanted. */
export class UnitSlot {
  readonly unit: string
  readonly replica: number
  readonly #seams: SlotSeams
  readonly #runDir: string
  readonly #log: Log
  readonly #waiters = createWaiters()
  readonly #writer
  readonly #tasks
  readonly #limits: SlotLimits
  #spec: UnitSpec
  #state: UnitState = INITIAL_STATE
  #run: Instance | undefined
  /** The start under way, if any; resolves when it has succeeded or failed. */
  #starting: Promise<void> | undefined
  #timer: AbortController | undefined
  #trail
  /** What led to the end that is to come, when somebody brought it about. */
  #endOrigin: Origin | undefined
  #instance = ''
  #ports: Readonly<Record<string, number>> = {}
  /** What the last start added to the arguments; kept through restarts of its own, not through asked ones. */
  #args: readonly string[] = []
  #startFault: HsuError | undefined
  #bootId = ''
  #closing: UnitState['want'] | undefined
  /** What is wrong around it, shown while it runs well itself. */
  #caveat = ''
  readonly #queue: UnitEvent[] = []
  #stepping = false

  constructor(seams: SlotSeams, spec: UnitSpec, replica: number, runDir: string) {
    this.unit = spec.name
    this.replica = replica
    this.#seams = seams
    this.#spec = spec
    this.#runDir = runDir
    this.#log = seams.log.with({ unit: spec.name, replica })
    this.#writer = createSlotWriter(seams.store, this.#log)
    this.#tasks = createTaskGroup((error) => this.#log.error('supervision of a unit met a fault', { error }))
    this.#trail = createTrail(spec.name, '', seams.publish)
    this.#limits = new SlotLimits({
      ...seams,
      log: this.#log,
      meter: seams.limitMeter,
      tasks: this.#tasks,
      tell: (news) => seams.publish({ ...news, unit: this.unit, instance: this.#instance, cause: '' }),
      end: (overuse, reason, causedBy) => this.#dispatch('overused', reason, { overuse, causedBy }),
    })
  }

  get status(): InstanceStatus {
    const { phase, want, ready, restarts, exit, reason } = this.#state
    const run = this.#run
    return {
      unit: this.unit,
      instance: this.#instance,
      replica: this.replica,
      kind: this.#spec.config.kind,
      state: phase,
      ready,
      pid: run?.pid,
      startedAtMs: run?.facts.startedAtMs,
      restarts,
      cpu: run?.usage?.cpu ?? 0,
      rssBytes: run?.usage?.rssBytes ?? 0,
      usage: run?.usage,
      ports: this.#ports,
      exit: run === undefined ? exit : undefined,
      limits: this.#limits.status,
      reason: reason === '' && ready ? this.#caveat : reason,
      want,
      retryAtMs: this.#retryAtMs,
      eventId: this.#trail.head,
    }
  }

  /**
   * Begins its life: takes over what an earlier node left (`record`), or starts afresh.
   * Resolves when it is known what is there; does not wait for a start.
   */
  async begin(record: SlotRecord | undefined): Promise<void> {
    try {
      await this.#begin(record)
    } catch (thrown) {
      this.#log.error('unit cannot be supervised', { error: thrown })
      this.#dispatch('blocked', messageOf(thrown))
    }
  }

  async #begin(record: SlotRecord | undefined): Promise<void> {
    const { host, clock, goesOn } = this.#seams
    const { restart, activation } = this.#spec.config
    this.#bootId = await host.table.bootId()
    if (record === undefined) return this.#beginAfresh(undefined)
    this.#instance = record.instance
    this.#ports = record.ports
    this.#args = record.args ?? []
    this.#trail.follow(record.eventId ?? '')
    this.#writer.goOnFrom(record)
    const isOver = record.closed || record.bootId !== this.#bootId
    // However it ended, the node may have been killed before it had read what was written last.
    if (isOver || !mayRun(record.phase)) this.#finishLeft(record.instance)
    if (isOver) return this.#beginAfresh(record)
    this.#state = fromRecord(record, clock)
    switch (record.phase) {
      case 'starting':
      case 'up':
      case 'stopping':
        return this.#takeOver(record)
      case 'down':
        if (record.want === 'up' || (!goesOn && restart.policy === 'always' && activation !== 'manual')) this.#wantUp()
        else this.#changed()
        return
      case 'backoff':
      case 'failed':
      case 'completed':
        if (record.launchHash !== launchHash(this.#spec)) this.#changeOver()
        else {
          this.#armTimer()
          this.#changed()
        }
    }
  }

  /** Takes over a changed configuration; a new process only when it is one that the old process cannot follow. */
  reconfigure(spec: UnitSpec): void {
    const before = launchHash(this.#spec)
    this.#spec = spec
    if (launchHash(spec) !== before) {
      if (this.#state.want === 'up') this.#changeOver()
    } else if (this.#run?.isEnding === false) {
      this.#watchHealth(this.#run)
      this.#limits.watch(this.#run.facts.child, spec.config.limits)
    }
  }

  /** Asks again whether the dependencies allow a start, when that is what it waits for. */
  reconsider(origin?: Origin): void {
    if (this.#state.phase === 'down' && this.#state.want === 'up') this.#admit(origin)
  }

  /** Stops it until its dependencies allow a start again. */
  hold(reason: string, origin: Origin): void {
    this.#dispatch('hold', reason, origin)
  }

  /** Shows what is wrong around it while it runs; '' = nothing. `origin`: what made that news for it. */
  mark(caveat: string, origin?: Origin): void {
    this.#caveat = caveat
    if (origin !== undefined && this.#state.ready) this.#trail.follow(origin.causedBy)
    this.#changed()
  }

  /** Nothing will happen here by itself any more. */
  get isAtRest(): boolean {
    const { phase, want, waitMs } = this.#state
    if (this.#run !== undefined) return false
    return phase === 'completed' || (phase === 'failed' ? waitMs === undefined : phase === 'down' && want === 'down')
  }

  /**
   * Resolves when it is on its way; `args` are for this start only.
   *
   * @throws HsuError `SPAWN_FAILED`, `UNIT_FAILED`, `ALREADY_RUNNING` for arguments that come too late, the signal's reason
   */
  async start(signal: AbortSignal, origin?: Origin, args: readonly string[] = []): Promise<void> {
    const { phase } = this.#state
    const isUnderWay = phase === 'starting' || phase === 'up'
    if (isUnderWay && args.length > 0) {
      const text = `unit '${this.unit}' runs already, so it cannot be given arguments; stop it first`
      throw new HsuError('ALREADY_RUNNING', text, { details: { unit: this.unit } })
    }
    if (!isUnderWay) this.#args = args
    this.#dispatch('wantUp', '', origin)
    await this.#untilOnItsWay(signal)
  }

  /**
   * Joins a restart that has not spawned yet. With `force`, waits for no drain, dependency or backoff.
   * @throws HsuError `SPAWN_FAILED`, `UNIT_FAILED`, the signal's reason
   */
  async restart(signal: AbortSignal, origin?: Origin, force = false): Promise<void> {
    const { phase, want } = this.#state
    const isUnderWay = phase === 'starting' && want === 'up' && this.#run === undefined
    if (!isUnderWay) {
      this.#args = []
      this.#dispatch(force ? 'forceRestart' : 'restart', 'restart asked for', origin)
    }
    await this.#untilOnItsWay(signal)
  }

  /** A new start for a reason that no person gave, unless one wants it down. */
  renew(reason: string, origin: Origin): void {
    if (this.#state.want === 'up') this.#dispatch('restart', reason, origin)
  }

  /** Resolves when its processes are gone, with how they ended; with nothing when there were none. */
  async stop(signal: AbortSignal, origin?: Origin): Promise<readonly StoppedInstance[]> {
    const { clock } = this.#seams
    const sinceMs = clock.nowMs()
    this.#dispatch('wantDown', STOPPED, origin)
    const hadProcesses = this.#state.phase === 'stopping'
    await this.#waiters.until(() => this.#run === undefined && this.#state.phase === 'down', signal)
    const { unit } = this
    const stopped = { unit, instance: this.#instance, exit: this.#state.exit, tookMs: clock.nowMs() - sinceMs }
    return hadProcesses ? [stopped] : []
  }

  /** Ends the whole tree by force; what follows is up to the restart policy. */
  async kill(origin?: Origin): Promise<void> {
    await this.#starting
    if (this.#run === undefined) return
    this.#endOrigin = origin
    await this.#run.kill().catch((error: unknown) => {
      // The slot was closed meanwhile, which it is only when nothing is left of its instance.
      if (!this.#tasks.signal.aborted) throw error
    })
  }

  /** Sends a signal to the unit's own program. @throws HsuError `NOT_STARTED` when there is none */
  async signal(name: NodeJS.Signals): Promise<void> {
    const run = this.#run
    if ((await run?.signal(name)) === true) return
    throw new HsuError('NOT_STARTED', `unit '${this.unit}' has no process to signal: it is ${this.#state.phase}`)
  }

  /** Stops it because the node stops: what was wanted of it stays as it was. */
  async close(origin?: Origin): Promise<void> {
    this.#closing ??= this.#state.want
    await this.stop(new AbortController().signal, origin)
    this.#save()
    await this.#letGo()
  }

  /** Lets go of everything without touching the process. */
  async abandon(): Promise<void> {
    this.#run?.release()
    await this.#letGo()
    this.#run?.release()
  }

  async #letGo(): Promise<void> {
    this.#timer?.abort()
    this.#run?.detach()
    this.#limits.detach()
    await this.#tasks.stop()
    await this.#writer.flush()
    this.#seams.ports.release(this.#slot)
  }

  get #slot(): string {
    return `${this.unit}/${this.replica}`
  }

  #dispatch(type: UnitEventType, reason = '', more: Partial<UnitEvent> = {}): void {
    this.#queue.push({ exit: undefined, ...more, type, reason })
    if (this.#stepping) return
    this.#stepping = true
    try {
      for (let event = this.#queue.shift(); event !== undefined; event = this.#queue.shift()) this.#apply(event)
    } finally {
      this.#stepping = false
    }
  }

  #apply(event: UnitEvent): void {
    const before = this.#state
    const { state, effects } = step(before, event, this.#rules())
    this.#state = state
    if (state.phase !== before.phase || state.generation !== before.generation) this.#armTimer()
    if (state !== before) this.#trail.follow(event.causedBy ?? '')
    const news = newsOf(before, state, event, this.#spec.config.restart.give_up.windowMs)
    for (const each of news) this.#trail.tell(each, this.#instance)
    for (const effect of effects) this.#perform(effect)
    if (state !== before) this.#changed()
  }

  get #retryAtMs(): number | undefined {
    const { untilMs } = this.#state
    const { clock } = this.#seams
    return untilMs === undefined ? undefined : Math.round(clock.wallMs() + untilMs - clock.nowMs())
  }

  #rules(): StepRules {
    const { clock, random } = this.#seams
    const { restart, probes } = this.#spec.config
    return { restart, startWithinMs: probes.start.within, nowMs: clock.nowMs(), random }
  }

  #armTimer(): void {
    this.#timer?.abort()
    const timer = timerOf(this.#state, this.#rules())
    if (timer === undefined) return
    const abort = new AbortController()
    this.#timer = abort
    const ring = (): void => this.#dispatch(timer.type, timer.type === 'startTimeout' ? this.#run?.doubt : '')
    if (timer.ms === 0) ring()
    else void this.#seams.clock.sleep(timer.ms, abort.signal).then(ring, () => undefined)
  }

  #perform(effect: UnitEffect): void {
    switch (effect) {
      case 'admit':
        this.#admit(undefined)
        return
      case 'spawn':
        this.#starting = this.#spawn()
        this.#tasks.run(() => this.#starting ?? Promise.resolve())
        return
      case 'terminate':
        this.#tasks.run(async () => {
          await this.#starting
          await this.#run?.terminate()
        })
        return
      case 'hurry':
        this.#tasks.run(async () => {
          await this.#starting
          this.#run?.hurry()
        })
        return
      case 'kill':
        this.#tasks.run(async () => {
          await this.#starting
          await this.#run?.killSurely()
        })
    }
  }

  /** `origin`: what made it worth asking again. */
  #admit(origin: Origin | undefined): void {
    const obstacle = this.#seams.admission(this.unit)
    if (obstacle === undefined) this.#dispatch('admitted', '', origin)
    else this.#dispatch('blocked', obstacle.reason, { awaited: obstacle.unit })
  }

  async #spawn(): Promise<void> {
    const { host, random, ports, environmentOf, clock } = this.#seams
    const spec = this.#spec
    const { name: unit, config } = spec
    const chance = below(NAMES, random).toString(16).padStart(6, '0')
    const instance = `${unit}-${this.replica}-${chance}`
    const directory = this.#directoryOf(instance)
    this.#instance = instance
    try {
      this.#ports = await ports.assign(this.#slot, config.ports, this.#ports)
      const facts = { instance, replica: this.replica, ports: this.#ports }
      const started = this.#args.length === 0 ? spec : { ...spec, args: this.#args }
      const request = launchOf(started, describeInstance(spec, facts), directory, host.environment(), environmentOf)
      // Written down first: a process that the next node finds without a record is ended as a stray.
      this.#save()
      const after = this.#writer.flush()
      const child = await host.spawn({ ...request, ...(await this.#limits.request(config.limits)), after })
      this.#startFault = undefined
      this.#attach('unit.started', { instance, directory, child, hash: launchHash(spec), startedAtMs: clock.wallMs() })
    } catch (thrown) {
      this.#startFault = HsuError.from(thrown)
      const { reason, message } = this.#startFault
      this.#log.warn('unit cannot be started', { instance, reason, cause: message })
      this.#tasks.run(() => host.discard(directory))
      this.#dispatch('spawnFailed', message)
    }
  }

  #attach(
    type: 'unit.started' | 'unit.adopted',
    found: { instance: string; directory: string; child: Child; hash: string; startedAtMs: number },
  ): void {
    const { instance, hash, ...rest } = found
    const facts = { ...rest, instance, replica: this.replica, ports: this.#ports, launchHash: hash, spec: this.#spec }
    const seams = { ...this.#seams, log: this.#log, tasks: this.#tasks }
    const run = new Instance(seams, { ...facts, starting: this.#state.phase !== 'up' })
    this.#run = run
    this.#log.info(type === 'unit.started' ? 'unit started' : 'unit adopted', { instance, pid: run.pid })
    const details = { pid: String(run.pid), replica: String(this.replica) }
    this.#trail.tell({ type, reason: '', details, cause: '', follows: true }, instance)
    this.#changed()
    this.#watchHealth(run)
    this.#limits.watch(run.facts.child, this.#spec.config.limits)
    this.#tasks.run((signal) => this.#attend(run, signal))
  }

  /** Begins to ask for its health, anew when the probes have changed. */
  #watchHealth(run: Instance): void {
    run.watchHealth(this.#spec, this.#state.phase === 'starting', (type, reason, facts) => {
      if (this.#run === run) this.#dispatch(type, reason, { facts })
    })
  }

  /** Waits for the end of the instance, and tells. */
  async #attend(run: Instance, signal: AbortSignal): Promise<void> {
    const exit = await run.untilGone(signal)
    const byKernel = await this.#limits.ended(exit)
    this.#run = undefined
    this.#tasks.run(() => run.finish())
    const origin = this.#endOrigin
    this.#endOrigin = undefined
    if (byKernel === undefined || origin !== undefined) this.#dispatch('exited', '', { exit, ...origin })
    else this.#dispatch('exited', byKernel.reason, { exit, overuse: 'killed', causedBy: byKernel.causedBy })
  }

  async #beginAfresh(record: SlotRecord | undefined): Promise<void> {
    const { restart, activation } = this.#spec.config
    this.#args = []
    if (record !== undefined) {
      this.#state = { ...INITIAL_STATE, generation: record.generation, restarts: record.restarts }
    }
    const heldDown = record?.want === 'down' && restart.policy === 'unless-stopped'
    if (!heldDown && activation !== 'manual') this.#wantUp()
    else this.#changed()
  }

  #changeOver(): void {
    this.#args = []
    this.#dispatch('restart', 'its configuration changed', { causedBy: this.#seams.nodeEvent() })
  }

  /** Because the node has begun to run it. */
  #wantUp(): void {
    this.#dispatch('wantUp', '', { causedBy: this.#seams.nodeEvent() })
  }

  async #takeOver(record: SlotRecord): Promise<void> {
    const { host, ports } = this.#seams
    const { instance, leader, main } = record
    const directory = this.#directoryOf(instance)
    ports.claim(this.#slot, record.ports)
    const found = await host.adopt({ directory, leader, main })
    if ('gone' in found) {
      await this.#sweep({ directory, leader, main })
      const byKernel = await this.#limits.endedUnseen(directory, found.exit)
      this.#finishLeft(instance)
      // Without a leader and an exit it was never started.
      if (leader === undefined && found.exit === undefined) return this.#beginAfresh(record)
      if (byKernel === undefined) this.#dispatch('exited', 'while no node ran', { exit: found.exit })
      else this.#dispatch('exited', byKernel, { exit: found.exit, overuse: 'killed' })
      return
    }
    this.#state = { ...this.#state, ready: false }
    const startedAtMs = record.startedAtMs ?? this.#seams.clock.wallMs()
    this.#attach('unit.adopted', { instance, directory, child: found, hash: record.launchHash, startedAtMs })
    this.#armTimer()
    if (this.#state.phase === 'stopping') this.#perform('terminate')
    else if (record.launchHash !== launchHash(this.#spec)) this.#changeOver()
  }

  /** Helpers may have outlived a program that ended while no node ran. */
  async #sweep(left: Left): Promise<void> {
    const { host, clock } = this.#seams
    const swept = sweep(host, left, clock, this.#tasks.signal)
    await swept.catch((error: unknown) => this.#log.error('what is left of an instance cannot be ended', { error }))
  }

  #finishLeft(instance: string): void {
    if (instance === '') return
    const directory = this.#directoryOf(instance)
    const source = captureOf(this.#spec, { instance, replica: this.replica, directory }, undefined)
    this.#tasks.run(() => finishOutput(this.#seams, source, directory))
  }

  async #untilOnItsWay(signal: AbortSignal): Promise<void> {
    const generation = this.#state.generation + (this.#state.phase === 'stopping' ? 1 : 0)
    const decided = (): boolean => {
      const { phase, want, generation: present, reason } = this.#state
      if (phase === 'starting' || phase === 'up') return this.#run !== undefined && present >= generation
      if (phase === 'down') return want === 'down' || reason !== ''
      return phase !== 'stopping'
    }
    await this.#waiters.until(decided, signal)
    if (this.#state.phase !== 'failed') return
    const fault = this.#startFault
    if (fault !== undefined) throw fault
    throw new HsuError('UNIT_FAILED', `unit '${this.unit}' failed: ${this.#state.reason}`, {
      details: { unit: this.unit },
    })
  }

  #directoryOf(instance: string): string {
    return join(this.#runDir, this.unit, String(this.replica), instance)
  }

  #changed(): void {
    this.#save()
    this.#seams.changed(this.status)
    this.#waiters.wake()
  }

  #save(): void {
    const { kind, stop } = this.#spec.config
    const run = this.#run
    const { leader, main } = run?.facts.child ?? {}
    this.#writer.write({
      format: 1,
      unit: this.unit,
      replica: this.replica,
      kind: kind === 'integrated' ? 'integrated' : 'managed',
      ...toRecord(this.#state, this.#seams.clock),
      ...(this.#closing === undefined ? {} : { want: this.#closing }),
      closed: this.#closing !== undefined && run === undefined && this.#state.phase === 'down',
      bootId: this.#bootId,
      instance: this.#instance,
      ...(leader === undefined ? {} : { leader, main }),
      ports: this.#ports,
      ...(this.#args.length === 0 ? {} : { args: [...this.#args] }),
      ...(run === undefined ? {} : { startedAtMs: run.facts.startedAtMs }),
      eventId: this.#trail.head,
      launchHash: run?.facts.launchHash ?? launchHash(this.#spec),
      stop: { signal: stop.signal, graceMs: stop.grace },
    })
  }
}

/** Whether a process may belong to a slot that was written down in this phase. */
function mayRun(phase: SlotRecord['phase']): boolean {
  return phase === 'starting' || phase === 'up' || phase === 'stopping'
}
