import { join } from 'node:path'
import { aborted, withSignal } from '../base/abort.ts'
import { type Clock, within } from '../base/clock.ts'
import { HsuError, messageOf } from '../base/error.ts'
import type { Log } from '../base/log.ts'
import { below, type Random } from '../base/random.ts'
import type { Store } from '../base/store.ts'
import { createTaskGroup } from '../base/task-group.ts'
import type { Exit } from './exit.ts'
import { describeProbeFault, type HealthSubject, watchInstanceHealth } from './health.ts'
import type { Child, ProcessHost } from './host.ts'
import {
  type EnvironmentOf,
  type InstanceDescription,
  launchHash,
  launchOf,
  mainPort,
  type UnitSpec,
} from './launch.ts'
import type { Meter, Usage } from './meter.ts'
import { NO_USAGE } from './meter.ts'
import type { Capture, Output } from './output.ts'
import type { PortBook } from './ports.ts'
import type { GrpcProber } from './probes/grpc.ts'
import { createSlotWriter, type SlotRecord } from './slot-record.ts'
import { fromRecord, toRecord } from './slot-state.ts'
import type { InstanceStatus, ProcessEvent } from './status.ts'
import { expandTemplates, templateValues } from './templates.ts'
import { type AllGone, killTree, terminate } from './terminate.ts'
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

/** Ending a unit can fail for reasons that pass (no file descriptor left, say); it is tried again, so often and after this. */
const MAX_END_ATTEMPTS = 30
const END_RETRY_MS = 1_000

/** The news that a process ended comes with its end; when it has not come after this, it never will. */
const NEWS_MS = 1_000

export interface SlotSeams {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly store: Store
  readonly host: ProcessHost
  readonly grpc: GrpcProber
  readonly ports: PortBook
  readonly meter: Pick<Meter, 'track'>
  readonly output: Pick<Output, 'capture'>
  readonly environmentOf: EnvironmentOf
  readonly drain: (unit: string, instance: string, signal: AbortSignal) => Promise<void>
  /** Whether the unit's dependencies allow a start: undefined, or for whom it waits. */
  readonly admission: (unit: string) => string | undefined
  readonly publish: (event: ProcessEvent) => void
  readonly changed: (status: InstanceStatus) => void
}

/** One process of this slot, from start or adoption to its end. */
interface Run {
  readonly instance: string
  readonly directory: string
  readonly child: Child
  readonly ports: Readonly<Record<string, number>>
  readonly startedAtMs: number
  readonly launchHash: string
  readonly capture: Capture
  readonly untrack: () => void
  /** Aborts when it is no longer to be asked for its health. */
  life: AbortController
  usage: Usage
  wasReady: boolean
  killed: boolean
  /** Aborts when it cannot be ended, and is no longer waited for. */
  readonly lost: AbortController
  /** The end we have begun to bring about. */
  ending: Promise<void> | undefined
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
  #run: Run | undefined
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
      pid: run?.child.main.pid,
      startedAtMs: run?.startedAtMs,
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
    } else if (this.#run !== undefined && this.#run.ending === undefined) {
      this.#watchHealth(this.#run)
    }
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
    if (this.#run !== undefined) await this.#kill(this.#run)
  }

  #kill(run: Run): Promise<AllGone> {
    run.killed = true
    return killTree(this.#seams.host, run.child, [], this.#seams.clock, this.#tasks.signal)
  }

  async #killOverdue(): Promise<void> {
    await this.#starting
    const run = this.#run
    if (run !== undefined && !(await this.#insist(run, () => this.#kill(run)))) run.lost.abort()
  }

  /** Sends a signal to the unit's own program. @throws HsuError `NOT_STARTED` when there is none */
  async signal(name: NodeJS.Signals): Promise<void> {
    const run = this.#run
    if (run !== undefined && (await this.#seams.host.signal(run.child.main, name))) return
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
    this.#run?.child.release()
    await this.#letGo()
    this.#run?.child.release()
  }

  async #letGo(): Promise<void> {
    this.#timer?.abort()
    this.#run?.life.abort()
    this.#run?.untrack()
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
        this.#tasks.run(() => this.#terminate())
        return
      case 'kill':
        this.#tasks.run(() => this.#killOverdue())
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
      const request = launchOf(spec, this.#describe(instance), directory, host.environment(), environmentOf)
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
    const { instance, directory, child, hash, startedAtMs } = found
    const root = child.leader.pid > 0 ? child.leader : child.main
    const run: Run = {
      instance,
      directory,
      child,
      startedAtMs,
      ports: this.#ports,
      launchHash: hash,
      capture: this.#captureOf(instance, directory),
      untrack: this.#seams.meter.track(root, (usage) => {
        run.usage = usage
      }),
      life: new AbortController(),
      usage: NO_USAGE,
      wasReady: this.#state.phase === 'up',
      killed: false,
      lost: new AbortController(),
      ending: undefined,
    }
    this.#run = run
    const { pid } = child.main
    this.#log.info(type === 'unit.started' ? 'unit started' : 'unit adopted', { instance, pid })
    this.#publish({ type, reason: '', details: { pid: String(pid), replica: String(this.replica) }, cause: '' })
    this.#changed()
    this.#watchHealth(run)
    this.#tasks.run((signal) => this.#attend(run, signal))
  }

  #captureOf(instance: string, directory: string): Capture {
    const { max_size: maxBytes, keep } = this.#spec.config.logs
    const [stdoutPath, stderrPath] = [join(directory, 'stdout'), join(directory, 'stderr')]
    const { unit, replica } = this
    return this.#seams.output.capture({ unit, replica, instance, stdoutPath, stderrPath, maxBytes, keep })
  }

  /** Begins to ask for its health, anew when the probes have changed. */
  #watchHealth(run: Run): void {
    run.life.abort()
    const life = new AbortController()
    run.life = life
    const isCurrent = (): boolean => this.#run === run && !life.signal.aborted
    this.#tasks.run(async () => {
      try {
        await watchInstanceHealth(
          this.#healthSubject(run),
          {
            clock: this.#seams.clock,
            table: this.#seams.host.table,
            run: this.#seams.host.run,
            grpc: this.#seams.grpc,
          },
          (type, reason) => {
            if (!isCurrent()) return
            if (type === 'ready') run.wasReady = true
            this.#dispatch(type, reason)
          },
          life.signal,
        )
      } catch (thrown) {
        if (isCurrent()) this.#dispatch('unhealthy', describeProbeFault(thrown))
      }
    })
  }

  #healthSubject(run: Run): HealthSubject {
    const spec = this.#spec
    const { kind, probes } = spec.config
    const description = this.#describe(run.instance)
    const values = templateValues({ ...description, ...spec.variables })
    const grpcPort = mainPort('integrated', run.ports)
    const { host, environmentOf } = this.#seams
    const { cwd, env } = launchOf(spec, description, run.directory, host.environment(), environmentOf)
    return {
      kind,
      probes,
      cwd,
      env,
      user: spec.config.user,
      identity: run.child.main,
      expand: (text) => expandTemplates(text, values),
      grpcAddress: grpcPort === undefined ? undefined : `127.0.0.1:${grpcPort}`,
      grpcPort,
      ownPorts: Object.values(run.ports),
      rootPid: run.child.leader.pid > 0 ? run.child.leader.pid : run.child.main.pid,
      starting: this.#state.phase === 'starting',
    }
  }

  /** Waits for the end of the process, sees to it that nothing of it is left, and tells. */
  async #attend(run: Run, signal: AbortSignal): Promise<void> {
    const exit = await withSignal(signal, (inner) =>
      Promise.race([run.child.exited, aborted(run.lost.signal), aborted(inner)]),
    )
    signal.throwIfAborted()
    const endedByUs = run.killed || run.ending !== undefined
    run.life.abort()
    run.untrack()
    const { host, clock } = this.#seams
    await (run.ending ?? this.#insist(run, () => killTree(host, run.child, [], clock, signal)))
    signal.throwIfAborted()
    this.#run = undefined
    this.#log.info('unit ended', { instance: run.instance, pid: run.child.main.pid, exit })
    this.#finish(run.capture, run.directory)
    this.#dispatch('exited', '', exit ?? (endedByUs ? { signal: 'SIGKILL' } : undefined))
  }

  #finish(capture: Capture, directory: string): void {
    this.#tasks.run(async () => {
      await capture.finish()
      await this.#seams.host.discard(directory)
    })
  }

  async #terminate(): Promise<void> {
    await this.#starting
    const run = this.#run
    if (run === undefined || run.ending !== undefined) return
    run.ending = this.#end(run)
    await run.ending
  }

  async #end(run: Run): Promise<void> {
    const { host, clock } = this.#seams
    const { signal, grace } = this.#spec.config.stop
    run.life.abort()
    if (run.wasReady) await this.#drain(run)
    const policy = { signal, graceMs: grace }
    const isGone = await this.#insist(run, () => terminate(host, run.child, policy, clock, this.#tasks.signal))
    if (isGone) {
      await withSignal(this.#tasks.signal, (inner) =>
        within(clock, NEWS_MS, Promise.race([run.child.exited, aborted(inner)])),
      )
    }
    run.lost.abort()
  }

  /** Tries `end` until it does not fail. False when processes are left. @throws the signal's reason */
  async #insist(run: Run, end: () => Promise<AllGone>): Promise<AllGone> {
    const { signal } = this.#tasks
    const { instance } = run
    for (let attempt = 1; attempt <= MAX_END_ATTEMPTS; attempt += 1) {
      try {
        const isGone = await end()
        if (!isGone) this.#log.error('processes of a unit do not end though killed, and are left', { instance })
        return isGone
      } catch (error) {
        signal.throwIfAborted()
        this.#log.error('unit cannot be stopped, which is tried again', { instance, attempt, error })
        await this.#seams.clock.sleep(END_RETRY_MS, signal)
      }
    }
    return false
  }

  /** Gives callers time to turn away, no longer than configured; cut short when the process ends by itself. */
  async #drain(run: Run): Promise<void> {
    const { clock, drain } = this.#seams
    await withSignal(this.#tasks.signal, async (signal) => {
      const drained = drain(this.unit, run.instance, signal).catch((error: unknown) => {
        if (!signal.aborted) this.#log.warn('unit could not be drained', { cause: messageOf(error) })
      })
      await within(clock, this.#spec.config.stop.drain, Promise.race([drained, run.child.exited, aborted(signal)]))
    })
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
    this.#finish(this.#captureOf(instance, directory), directory)
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

  #describe(instance: string): InstanceDescription {
    return { unit: this.unit, instance, replica: this.replica, kind: this.#spec.config.kind, ports: this.#ports }
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
    const identities = run === undefined ? {} : { leader: run.child.leader, main: run.child.main }
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
      ...identities,
      ports: this.#ports,
      ...(run === undefined ? {} : { startedAtMs: run.startedAtMs }),
      launchHash: run?.launchHash ?? launchHash(this.#spec),
      stop: { signal: stop.signal, graceMs: stop.grace },
    })
  }
}
