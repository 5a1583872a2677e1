import { join } from 'node:path'
import { HsuError, messageOf } from '../base/error.ts'
import type { Log } from '../base/log.ts'
import { below, type Random } from '../base/random.ts'
import type { Store } from '../base/store.ts'
import { createTaskGroup } from '../base/task-group.ts'
import type { Exit } from './exit.ts'
import type { Child } from './host.ts'
import { captureOf, describeInstance, Instance, type InstanceSeams } from './instance.ts'
import { launchHash, launchOf, type UnitSpec } from './launch.ts'
import type { PortBook } from './ports.ts'
import { createSlotWriter, type SlotRecord } from './slot-record.ts'
import { fromRecord, toRecord } from './slot-state.ts'
import type { InstanceStatus, ProcessEvent } from './status.ts'
import { newsOf } from './unit-news.ts'
import {
  INITIAL_STATE,
  step,
  type StepRules,
  timerOf,
  type UnitEffect,
  type UnitEvent,
  type UnitEventType,
  type UnitState,
} from './unit-state.ts'
import { createWaiters } from './waiters.ts'

/** The names of instances end in six hex digits of chance. */
const NAMES = 0x1000000

export interface SlotSeams extends Omit<InstanceSeams, 'tasks'> {
  readonly random: Random
  readonly store: Store
  readonly ports: PortBook
  /** Whether the unit's dependencies allow a start: undefined, or for whom it waits. */
  readonly admission: (unit: string) => string | undefined
  readonly publish: (event: ProcessEvent) => void
  readonly changed: (status: InstanceStatus) => void
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
  #spec: UnitSpec
  #state: UnitState = INITIAL_STATE
  #run: Instance | undefined
  /** The start under way, if any; resolves when it has succeeded or failed. */
  #starting: Promise<void> | undefined
  #timer: AbortController | undefined
  #instance = ''
  #ports: Readonly<Record<string, number>> = {}
  #startFault: HsuError | undefined
  #bootId = ''
  #closing: UnitState['want'] | undefined
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
  }

  get status(): InstanceStatus {
    const { phase, ready, restarts, exit, reason } = this.#state
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
      cpu: run?.usage.cpu ?? 0,
      rssBytes: run?.usage.rssBytes ?? 0,
      ports: this.#ports,
      exit: run === undefined ? exit : undefined,
      reason,
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
    const { host, clock } = this.#seams
    const { restart, activation } = this.#spec.config
    this.#bootId = await host.table.bootId()
    if (record === undefined) return this.#beginAfresh(undefined)
    this.#instance = record.instance
    this.#ports = record.ports
    if (record.closed || record.bootId !== this.#bootId) return this.#beginAfresh(record)
    this.#state = fromRecord(record, clock)
    switch (record.phase) {
      case 'starting':
      case 'up':
      case 'stopping':
        return this.#takeOver(record)
      case 'down':
        if (record.want === 'up' || (restart.policy === 'always' && activation !== 'manual')) this.#dispatch('wantUp')
        else this.#changed()
        return
      case 'backoff':
      case 'failed':
      case 'completed':
        if (record.launchHash !== launchHash(this.#spec)) this.#dispatch('restart', 'its configuration changed')
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
      if (this.#state.want === 'up') this.#dispatch('restart', 'its configuration changed')
    } else if (this.#run?.isEnding === false) this.#watchHealth(this.#run)
  }

  /** Asks again whether the dependencies allow a start, when that is what it waits for. */
  reconsider(): void {
    if (this.#state.phase === 'down' && this.#state.want === 'up') this.#perform('admit')
  }

  /** Resolves when it is on its way. @throws HsuError `SPAWN_FAILED`, `UNIT_FAILED`, the signal's reason */
  async start(signal: AbortSignal): Promise<void> {
    this.#dispatch('wantUp')
    await this.#untilOnItsWay(signal)
  }

  /** Joins a restart that has not spawned yet. @throws HsuError `SPAWN_FAILED`, `UNIT_FAILED`, the signal's reason */
  async restart(signal: AbortSignal): Promise<void> {
    const { phase, want } = this.#state
    const isUnderWay = phase === 'starting' && want === 'up' && this.#run === undefined
    if (!isUnderWay) this.#dispatch('restart', 'restart asked for')
    await this.#untilOnItsWay(signal)
  }

  /** Resolves when its processes are gone. */
  async stop(signal: AbortSignal): Promise<void> {
    this.#dispatch('wantDown', 'stopped')
    await this.#waiters.until(() => this.#run === undefined && this.#state.phase === 'down', signal)
  }

  /** Ends the whole tree by force; what follows is up to the restart policy. */
  async kill(): Promise<void> {
    await this.#starting
    await this.#run?.kill()
  }

  /** Sends a signal to the unit's own program. @throws HsuError `NOT_STARTED` when there is none */
  async signal(name: NodeJS.Signals): Promise<void> {
    const run = this.#run
    if ((await run?.signal(name)) === true) return
    throw new HsuError('NOT_STARTED', `unit '${this.unit}' has no process to signal: it is ${this.#state.phase}`)
  }

  /** Stops it because the node stops: what was wanted of it stays as it was. */
  async close(): Promise<void> {
    this.#closing ??= this.#state.want
    await this.stop(new AbortController().signal)
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
    await this.#tasks.stop()
    await this.#writer.flush()
    this.#seams.ports.release(this.#slot)
  }

  get #slot(): string {
    return `${this.unit}/${this.replica}`
  }

  #dispatch(type: UnitEventType, reason = '', exit?: Exit): void {
    this.#queue.push({ type, reason, exit })
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
    for (const news of newsOf(before, state, event)) this.#publish(news)
    for (const effect of effects) this.#perform(effect)
    if (state !== before) this.#changed()
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
    const ring = (): void => this.#dispatch(timer.type)
    void this.#seams.clock.sleep(timer.ms, abort.signal).then(ring, () => undefined)
  }

  #perform(effect: UnitEffect): void {
    switch (effect) {
      case 'admit': {
        const waitsFor = this.#seams.admission(this.unit)
        this.#dispatch(waitsFor === undefined ? 'admitted' : 'blocked', waitsFor)
        return
      }
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
      case 'kill':
        this.#tasks.run(async () => {
          await this.#starting
          await this.#run?.killSurely()
        })
    }
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
      const request = launchOf(spec, describeInstance(spec, facts), directory, host.environment(), environmentOf)
      // Written down first: a process that the next node finds without a record is ended as a stray.
      this.#save()
      await this.#writer.flush()
      const child = await host.spawn(request)
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
    this.#publish({ type, reason: '', details: { pid: String(run.pid), replica: String(this.replica) }, cause: '' })
    this.#changed()
    this.#watchHealth(run)
    this.#tasks.run((signal) => this.#attend(run, signal))
  }

  /** Begins to ask for its health, anew when the probes have changed. */
  #watchHealth(run: Instance): void {
    run.watchHealth(this.#spec, this.#state.phase === 'starting', (type, reason) => {
      if (this.#run === run) this.#dispatch(type, reason)
    })
  }

  /** Waits for the end of the instance, and tells. */
  async #attend(run: Instance, signal: AbortSignal): Promise<void> {
    const exit = await run.untilGone(signal)
    this.#run = undefined
    this.#tasks.run(() => run.finish())
    this.#dispatch('exited', '', exit)
  }

  async #beginAfresh(record: SlotRecord | undefined): Promise<void> {
    const { restart, activation } = this.#spec.config
    if (record !== undefined) {
      this.#state = { ...INITIAL_STATE, generation: record.generation, restarts: record.restarts }
      // The system was started anew: the process is gone, what it last wrote is not.
      if (!record.closed && record.instance !== '') this.#finishLeft(record.instance)
    }
    const heldDown = record?.want === 'down' && restart.policy === 'unless-stopped'
    if (!heldDown && activation !== 'manual') this.#dispatch('wantUp')
    else this.#changed()
  }

  async #takeOver(record: SlotRecord): Promise<void> {
    const { host, ports } = this.#seams
    const { instance, leader, main } = record
    const directory = this.#directoryOf(instance)
    ports.claim(this.#slot, record.ports)
    const found = await host.adopt({ directory, leader, main })
    if ('gone' in found) {
      this.#finishLeft(instance)
      // Without a leader and an exit it was never started.
      if (leader === undefined && found.exit === undefined) return this.#beginAfresh({ ...record, closed: true })
      this.#dispatch('exited', 'while no node ran', found.exit)
      return
    }
    this.#state = { ...this.#state, ready: false }
    const startedAtMs = record.startedAtMs ?? this.#seams.clock.wallMs()
    this.#attach('unit.adopted', { instance, directory, child: found, hash: record.launchHash, startedAtMs })
    this.#armTimer()
    if (this.#state.phase === 'stopping') this.#perform('terminate')
    else if (record.launchHash !== launchHash(this.#spec)) this.#dispatch('restart', 'its configuration changed')
  }

  #finishLeft(instance: string): void {
    const directory = this.#directoryOf(instance)
    const capture = this.#seams.output.capture(captureOf(this.#spec, { instance, replica: this.replica, directory }))
    this.#tasks.run(async () => {
      await capture.finish()
      await this.#seams.host.discard(directory)
    })
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

  #publish(news: Pick<ProcessEvent, 'type' | 'reason' | 'details' | 'cause'>): void {
    const { unit } = this
    this.#seams.publish({ wallMs: this.#seams.clock.wallMs(), unit, instance: this.#instance, ...news })
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
      ...(run === undefined ? {} : { startedAtMs: run.facts.startedAtMs }),
      launchHash: run?.facts.launchHash ?? launchHash(this.#spec),
      stop: { signal: stop.signal, graceMs: stop.grace },
    })
  }
}
