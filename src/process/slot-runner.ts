import { join } from 'node:path'
import { HsuError } from '../base/error.ts'
import type { Log } from '../base/log.ts'
import { below, type Random } from '../base/random.ts'
import type { TaskGroup } from '../base/task-group.ts'
import type { Origin } from './causes.ts'
import type { Child } from './host.ts'
import { captureOf, describeInstance, Instance, type InstanceSeams } from './instance.ts'
import { finishOutput } from './leftovers.ts'
import { launchHash, launchOf, type UnitSpec } from './launch.ts'
import type { SlotLimits } from './limits/slot-limits.ts'
import type { PortBook } from './ports.ts'
import type { SlotMachine } from './slot-machine.ts'
import type { SlotRecord } from './slot-record.ts'
import { sweep } from './terminate.ts'

/** The names of instances end in six hex digits of chance. */
const NAMES = 0x1000000

export interface RunnerSeams extends InstanceSeams {
  readonly random: Random
  readonly ports: PortBook
  readonly machine: SlotMachine
  readonly limits: SlotLimits
  /** The present description of the unit. */
  readonly spec: () => UnitSpec
  /** Writes the slot down; resolves when that is done. */
  readonly writeDown: () => Promise<void>
  /** The instance is there: what is shown of the slot has changed. */
  readonly changed: () => void
}

/** Which slot it is, and where its instances live. */
export interface RunnerPlace {
  readonly unit: string
  readonly replica: number
  /** Absolute. */
  readonly runDir: string
}

/** The instances of one slot, one after the other: starts or adopts them, and tells the machine of their ends. */
export class SlotRunner {
  readonly #seams: RunnerSeams
  readonly #place: RunnerPlace
  readonly #log: Log
  readonly #tasks: TaskGroup
  #run: Instance | undefined
  #instance = ''
  #ports: Readonly<Record<string, number>> = {}
  /** The start under way, if any; resolves when it has succeeded or failed. */
  #starting: Promise<void> | undefined
  #startFault: HsuError | undefined
  /** What led to the end that is to come, when somebody brought it about. */
  #endOrigin: Origin | undefined

  constructor(seams: RunnerSeams, place: RunnerPlace) {
    this.#seams = seams
    this.#place = place
    this.#log = seams.log
    this.#tasks = seams.tasks
  }

  /** The instance that has processes; undefined when there is none. */
  get run(): Instance | undefined {
    return this.#run
  }

  /** The name of the last instance; '' before the first. */
  get instance(): string {
    return this.#instance
  }

  get ports(): Readonly<Record<string, number>> {
    return this.#ports
  }

  /** Why the last start failed; undefined when it did not. */
  get startFault(): HsuError | undefined {
    return this.#startFault
  }

  /** Goes on with the name and the ports that the last instance had under an earlier node. */
  remember({ instance, ports }: Pick<SlotRecord, 'instance' | 'ports'>): void {
    this.#instance = instance
    this.#ports = ports
  }

  /** Begins a start; how it went is told to the machine. */
  spawn(args: readonly string[]): void {
    const starting = this.#spawn(args)
    this.#starting = starting
    this.#tasks.run(() => starting)
  }

  /** Begins to do something to the instance, as soon as the start under way is over. */
  act(action: (run: Instance) => void | Promise<void>): void {
    this.#tasks.run(async () => {
      await this.#starting
      if (this.#run !== undefined) await action(this.#run)
    })
  }

  /** Ends the whole tree by force. */
  async kill(origin: Origin | undefined): Promise<void> {
    await this.#starting
    if (this.#run === undefined) return
    this.#endOrigin = origin
    await this.#run.kill().catch((error: unknown) => {
      // The slot was closed meanwhile, which it is only when nothing is left of its instance.
      if (!this.#tasks.signal.aborted) throw error
    })
  }

  /**
   * Takes over the instance of an earlier node. `never`: it was not even started. `ended`: it had ended, which the machine
   * was told.
   */
  async adopt(record: SlotRecord): Promise<'adopted' | 'ended' | 'never'> {
    const { host, machine, limits, ports, clock } = this.#seams
    const { instance, leader, main } = record
    const directory = this.#directoryOf(instance)
    ports.claim(this.#slot, record.ports)
    const found = await host.adopt({ directory, leader, main })
    if (!('gone' in found)) {
      machine.resume({ ...machine.state, ready: false })
      const startedAtMs = record.startedAtMs ?? clock.wallMs()
      const facts = { instance, directory, child: found, launchHash: record.launchHash, startedAtMs }
      this.#attach('unit.adopted', facts)
      return 'adopted'
    }
    // Helpers may have outlived a program that ended while no node ran.
    await sweep(host, { directory, leader, main }, clock, this.#tasks.signal).catch((error: unknown) =>
      this.#log.error('what is left of an instance cannot be ended', { error }),
    )
    const byKernel = await limits.endedUnseen(directory, found.exit)
    this.finishLeft(instance)
    if (leader === undefined && found.exit === undefined) return 'never'
    if (byKernel === undefined) machine.dispatch('exited', 'while no node ran', { exit: found.exit })
    else machine.dispatch('exited', byKernel, { exit: found.exit, overuse: 'killed' })
    return 'ended'
  }

  /** Takes what the instance of an earlier node wrote to its end. */
  finishLeft(instance: string): void {
    if (instance === '') return
    const directory = this.#directoryOf(instance)
    const source = captureOf(this.#seams.spec(), { instance, replica: this.#place.replica, directory }, undefined)
    this.#tasks.run(() => finishOutput(this.#seams, source, directory))
  }

  /** Begins to ask for health and to see to limits, anew when their description has changed. */
  watch(run: Instance): void {
    const { machine, limits } = this.#seams
    const spec = this.#seams.spec()
    run.watchHealth(spec, machine.state.phase === 'starting', (type, reason, facts) => {
      if (this.#run === run) machine.dispatch(type, reason, { facts })
    })
    limits.watch(run.facts.child, spec.config.limits)
  }

  /** Asks and measures no more. The processes are not touched. */
  detach(): void {
    this.#run?.detach()
    this.#seams.limits.detach()
  }

  /** Lets go of the processes, which live on. */
  release(): void {
    this.#run?.release()
  }

  /** Gives back what the slot had for its instances. */
  releasePorts(): void {
    this.#seams.ports.release(this.#slot)
  }

  get #slot(): string {
    return `${this.#place.unit}/${this.#place.replica}`
  }

  async #spawn(args: readonly string[]): Promise<void> {
    const { host, random, ports, environmentOf, clock, limits, writeDown, machine } = this.#seams
    const spec = this.#seams.spec()
    const { name: unit, config } = spec
    const { replica } = this.#place
    const chance = below(NAMES, random).toString(16).padStart(6, '0')
    const instance = `${unit}-${replica}-${chance}`
    const directory = this.#directoryOf(instance)
    this.#instance = instance
    try {
      this.#ports = await ports.assign(this.#slot, config.ports, this.#ports)
      const description = describeInstance(spec, { instance, replica, ports: this.#ports })
      const started = args.length === 0 ? spec : { ...spec, args }
      const request = launchOf(started, description, directory, host.environment(), environmentOf)
      // Written down first: a process that the next node finds without a record is ended as a stray.
      const after = writeDown()
      const child = await host.spawn({ ...request, ...(await limits.request(config.limits)), after })
      this.#startFault = undefined
      const startedAtMs = clock.wallMs()
      this.#attach('unit.started', { instance, directory, child, launchHash: launchHash(spec), startedAtMs })
    } catch (thrown) {
      this.#startFault = HsuError.from(thrown)
      const { reason, message } = this.#startFault
      this.#log.warn('unit cannot be started', { instance, reason, cause: message })
      this.#tasks.run(() => host.discard(directory))
      machine.dispatch('spawnFailed', message)
    }
  }

  #attach(
    type: 'unit.started' | 'unit.adopted',
    found: {
      readonly instance: string
      readonly directory: string
      readonly child: Child
      readonly launchHash: string
      readonly startedAtMs: number
    },
  ): void {
    const { machine, changed, spec } = this.#seams
    const { replica } = this.#place
    const { instance } = found
    const facts = { ...found, spec: spec(), replica, ports: this.#ports, starting: machine.state.phase !== 'up' }
    const run = new Instance(this.#seams, facts)
    this.#run = run
    if (machine.state.phase === 'starting') machine.armTimer()
    this.#log.info(type === 'unit.started' ? 'unit started' : 'unit adopted', { instance, pid: run.pid })
    const details = { pid: String(run.pid), replica: String(replica) }
    machine.trail.tell({ type, reason: '', details, cause: '', follows: true }, instance)
    changed()
    this.watch(run)
    this.#tasks.run((signal) => this.#attend(run, signal))
  }

  /** Waits for the end of the instance, and tells. */
  async #attend(run: Instance, signal: AbortSignal): Promise<void> {
    const { limits, machine } = this.#seams
    const exit = await run.untilGone(signal)
    const byKernel = await limits.ended(exit)
    this.#run = undefined
    this.#tasks.run(() => run.finish())
    const origin = this.#endOrigin
    this.#endOrigin = undefined
    if (byKernel === undefined || origin !== undefined) machine.dispatch('exited', '', { exit, ...origin })
    else machine.dispatch('exited', byKernel.reason, { exit, overuse: 'killed', causedBy: byKernel.causedBy })
  }

  #directoryOf(instance: string): string {
    return join(this.#place.runDir, this.#place.unit, String(this.#place.replica), instance)
  }
}
