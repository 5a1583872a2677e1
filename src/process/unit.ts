import { messageOf } from '../base/error.ts'
import type { Log } from '../base/log.ts'
import { createTaskGroup } from '../base/task-group.ts'
import type { Obstacle } from './admission.ts'
import type { Origin, Tell } from './causes.ts'
import { launchHash, type UnitSpec } from './launch.ts'
import { SlotLimits, type SlotLimitsSeams } from './limits/slot-limits.ts'
import { Opening } from './opening.ts'
import { SlotMachine } from './slot-machine.ts'
import { freshWish, isAtRest, isOver, mayRun, resumptionOf } from './slot-plan.ts'
import { maySleep, sleepTermsOf } from './sleep-terms.ts'
import { createSlotWriter, type SlotRecord } from './slot-record.ts'
import { SlotRequests } from './slot-requests.ts'
import { type RunnerSeams, SlotRunner } from './slot-runner.ts'
import { fromRecord, recordOf, type SlotFacts, statusOf } from './slot-state.ts'
import type { Store } from '../base/store.ts'
import type { InstanceStatus } from './status.ts'
import { INITIAL_STATE, type UnitEffect, type UnitState } from './unit-state.ts'
import { createWaiters } from './waiters.ts'

type OwnParts = 'tasks' | 'machine' | 'limits' | 'spec' | 'writeDown' | 'changed'

export interface SlotSeams extends Omit<RunnerSeams, OwnParts> {
  readonly store: Store
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

/** Why an instance sleeps that has not been called yet. */
const UNCALLED = 'nobody has called it yet'

/** One replica slot of a managed or integrated unit: keeps what runs there in line with what is wanted. */
export class UnitSlot {
  readonly unit: string
  readonly replica: number
  readonly requests: SlotRequests
  readonly #seams: SlotSeams
  readonly #log: Log
  readonly #waiters = createWaiters()
  readonly #opening: Opening
  readonly #writer
  readonly #tasks
  readonly #limits: SlotLimits
  readonly #machine: SlotMachine
  readonly #runner: SlotRunner
  #spec: UnitSpec
  /** What the last start added to the arguments; kept through restarts of its own, not through asked ones. */
  #args: readonly string[] = []
  #bootId = ''
  #closing: UnitState['want'] | undefined
  #isOutdated = false
  /** What is wrong around it, shown while it runs well itself. */
  #caveat = ''

  constructor(seams: SlotSeams, spec: UnitSpec, replica: number, runDir: string) {
    this.unit = spec.name
    this.replica = replica
    this.#seams = seams
    this.#spec = spec
    this.#opening = new Opening(spec.name, seams.clock)
    const log = seams.log.with({ unit: spec.name, replica })
    this.#log = log
    this.#writer = createSlotWriter(seams.store, log)
    this.#tasks = createTaskGroup((error) => log.error('supervision of a unit met a fault', { error }))
    this.#machine = new SlotMachine(spec.name, seams, {
      spec: () => this.#spec,
      instance: () => this.#runner.instance,
      doubt: () => this.#runner.run?.doubt,
      isThere: () => this.#runner.run !== undefined,
      perform: (effect) => this.#perform(effect),
      changed: () => this.#changed(),
    })
    this.#limits = this.#createLimits()
    this.#runner = this.#createRunner(runDir)
    this.requests = new SlotRequests({
      ...{ clock: seams.clock, unit: spec.name, opening: this.#opening, machine: this.#machine, runner: this.#runner },
      ...{ waiters: this.#waiters, life: this.#tasks.signal },
      setArgs: (args) => {
        this.#args = args
      },
    })
  }

  #createLimits(): SlotLimits {
    const { publish, limitMeter } = this.#seams
    return new SlotLimits({
      ...this.#seams,
      log: this.#log,
      meter: limitMeter,
      tasks: this.#tasks,
      tell: (news) => publish({ ...news, unit: this.unit, instance: this.#runner.instance, cause: '' }),
      end: (overuse, reason, causedBy) => this.#machine.dispatch('overused', reason, { overuse, causedBy }),
    })
  }

  #createRunner(runDir: string): SlotRunner {
    const seams: RunnerSeams = {
      ...this.#seams,
      log: this.#log,
      tasks: this.#tasks,
      machine: this.#machine,
      limits: this.#limits,
      spec: () => this.#spec,
      writeDown: () => {
        this.#save()
        return this.#writer.flush()
      },
      changed: () => this.#changed(),
    }
    return new SlotRunner(seams, { unit: this.unit, replica: this.replica, runDir })
  }

  get status(): InstanceStatus {
    const { retryAtMs } = this.#machine
    return statusOf(this.#facts, { limits: this.#limits.status, retryAtMs, caveat: this.#caveat })
  }

  get #facts(): SlotFacts {
    const { run, instance, ports } = this.#runner
    const { state, trail } = this.#machine
    return { spec: this.#spec, replica: this.replica, state, run, instance, ports, eventId: trail.head }
  }

  /**
   * Begins its life: takes over what an earlier node left (`record`), or starts afresh.
   * Resolves when it is known what is there; does not wait for a start. What is asked of it meanwhile waits for that.
   */
  async begin(record: SlotRecord | undefined): Promise<void> {
    try {
      this.#bootId = await this.#seams.host.table.bootId()
      if (this.#tasks.signal.aborted) return
      if (record === undefined) this.#beginAfresh(undefined)
      else await this.#goOnFrom(record)
    } catch (thrown) {
      this.#log.error('unit cannot be supervised', { error: thrown })
      this.#machine.dispatch('blocked', messageOf(thrown))
    } finally {
      this.#opening.open()
    }
  }

  async #goOnFrom(record: SlotRecord): Promise<void> {
    const { goesOn, clock } = this.#seams
    const bootId = this.#bootId
    this.#runner.remember(record)
    this.#args = record.args ?? []
    this.#machine.trail.follow(record.eventId ?? '')
    this.#writer.goOnFrom(record)
    const isGone = isOver(record, bootId)
    // However it ended, the node may have been killed before it had read what was written last.
    if (isGone || !mayRun(record)) this.#runner.finishLeft(record.instance)
    if (!isGone) this.#machine.resume(fromRecord(record, clock))
    switch (resumptionOf(record, this.#spec, { bootId, goesOn })) {
      case 'afresh':
        this.#beginAfresh(record)
        return
      case 'take over':
        await this.#takeOver(record)
        return
      case 'want up':
        this.#wantUp()
        return
      case 'change over':
        this.changeOver()
        return
      case 'wait':
        this.#machine.armTimer()
        this.#changed()
    }
  }

  #beginAfresh(record: SlotRecord | undefined): void {
    this.#args = []
    if (record !== undefined) {
      const { generation, restarts } = record
      this.#machine.resume({ ...INITIAL_STATE, generation, restarts })
    }
    switch (freshWish(this.#spec, this.replica, record)) {
      case 'up':
        this.#wantUp()
        return
      case 'asleep':
        this.sleep(UNCALLED, { causedBy: this.#seams.nodeEvent() })
        return
      case 'down':
        this.#changed()
    }
  }

  async #takeOver(record: SlotRecord): Promise<void> {
    switch (await this.#runner.adopt(record)) {
      case 'adopted':
        this.#machine.armTimer()
        if (this.#machine.state.phase === 'stopping') this.#perform('terminate')
        else this.#isOutdated = record.launchHash !== launchHash(this.#spec)
        return
      case 'never':
        this.#beginAfresh(record)
        return
      case 'ended':
    }
  }

  /** Takes over a changed configuration. It is outdated then when its process is one that cannot follow. */
  reconfigure(spec: UnitSpec): void {
    const { run } = this.#runner
    const [before, after] = [launchHash(this.#spec), launchHash(spec)]
    this.#spec = spec
    this.#isOutdated = run === undefined ? this.#isOutdated || after !== before : run.facts.launchHash !== after
    if (!this.#isOutdated && run?.isEnding === false) this.#runner.watch(run)
    if (this.#machine.state.asleep && !maySleep(spec.config, this.replica)) this.#wantUp()
  }

  /** It is wanted up, and needs a new process for its configuration. */
  get isOutdated(): boolean {
    return this.#isOutdated && this.#machine.state.want === 'up'
  }

  /** Begins to replace the process of an outdated one. `origin`: by default what the node itself is doing. */
  changeOver(origin: Origin = { causedBy: this.#seams.nodeEvent() }): void {
    this.#args = []
    this.#machine.dispatch('restart', 'its configuration changed', origin)
  }

  /** Ends it because nobody needs it; who calls it wakes it. Only what is up or down can be put to sleep. */
  sleep(reason: string, origin: Origin): void {
    this.#machine.dispatch('sleep', reason, origin)
  }

  /** A call may start it: it sleeps, or is about to, or has done its work. */
  get isWakeable(): boolean {
    const { asleep, phase } = this.#machine.state
    return asleep || (phase === 'completed' && sleepTermsOf(this.#spec.config) !== undefined)
  }

  /** Asks again whether the dependencies allow a start, when that is what it waits for. */
  reconsider(origin?: Origin): void {
    const { phase, want } = this.#machine.state
    if (phase === 'down' && want === 'up') this.#admit(origin)
  }

  /** Stops it until its dependencies allow a start again. */
  hold(reason: string, origin: Origin): void {
    this.#machine.dispatch('hold', reason, origin)
  }

  /** Shows what is wrong around it while it runs; '' = nothing. `origin`: what made that news for it. */
  mark(caveat: string, origin?: Origin): void {
    this.#caveat = caveat
    const { state, trail } = this.#machine
    if (origin !== undefined && state.ready) trail.follow(origin.causedBy)
    this.#changed()
  }

  /** Nothing will happen here by itself any more. */
  get isAtRest(): boolean {
    return this.#runner.run === undefined && isAtRest(this.#machine.state)
  }

  /** See `SlotRequests`. */
  untilServing(signal: AbortSignal): Promise<string> {
    return this.requests.untilServing(signal)
  }

  /** A new start for a reason that no person gave, unless one wants it down. */
  renew(reason: string, origin: Origin): void {
    if (this.#machine.state.want === 'up') this.#machine.dispatch('restart', reason, origin)
  }

  /** From now on nothing is begun here: it is about to end. */
  beginClosing(): void {
    this.#opening.beginClosing()
  }

  get isClosing(): boolean {
    return this.#opening.isClosing
  }

  /** Stops it because the node stops: what was wanted of it stays as it was. */
  async close(origin?: Origin): Promise<void> {
    this.beginClosing()
    if (!this.#opening.isOpen) await this.#opening.opened()
    this.#closing ??= this.#machine.state.want
    await this.requests.stopNow(new AbortController().signal, origin)
    this.#save()
    await this.#letGo()
  }

  /** Lets go of everything without touching the process. */
  async abandon(): Promise<void> {
    this.beginClosing()
    this.#runner.release()
    await this.#letGo()
    this.#runner.release()
  }

  async #letGo(): Promise<void> {
    this.#machine.disarm()
    this.#runner.detach()
    await this.#tasks.stop()
    await this.#writer.flush()
    this.#runner.releasePorts()
  }

  #perform(effect: UnitEffect): void {
    switch (effect) {
      case 'admit':
        this.#admit(undefined)
        return
      case 'spawn':
        this.#isOutdated = false
        this.#runner.spawn(this.#args)
        return
      case 'terminate':
        this.#runner.act((run) => run.terminate())
        return
      case 'hurry':
        this.#runner.act((run) => run.hurry())
        return
      case 'kill':
        this.#runner.act((run) => run.killSurely())
    }
  }

  /** `origin`: what made it worth asking again. */
  #admit(origin: Origin | undefined): void {
    const obstacle = this.#seams.admission(this.unit)
    if (obstacle === undefined) this.#machine.dispatch('admitted', '', origin)
    else this.#machine.dispatch('blocked', obstacle.reason, { awaited: obstacle.unit })
  }

  /** Because the node has begun to run it. */
  #wantUp(): void {
    this.#machine.dispatch('wantUp', '', { causedBy: this.#seams.nodeEvent() })
  }

  #changed(): void {
    this.#save()
    this.#seams.changed(this.status)
    this.#waiters.wake()
  }

  #save(): void {
    const memory = { bootId: this.#bootId, args: this.#args, closing: this.#closing }
    this.#writer.write(recordOf(this.#facts, memory, this.#seams.clock))
  }
}
