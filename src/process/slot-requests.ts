import type { Clock } from '../base/clock.ts'
import { HsuError } from '../base/error.ts'
import type { Origin } from './causes.ts'
import type { Opening } from './opening.ts'
import type { SlotMachine } from './slot-machine.ts'
import { isDecided, servingVerdict } from './slot-plan.ts'
import type { SlotRunner } from './slot-runner.ts'
import type { StoppedInstance } from './status.ts'
import { STOPPED } from './unit-state.ts'
import type { Waiters } from './waiters.ts'

export interface RequestSeams {
  readonly clock: Clock
  readonly unit: string
  readonly opening: Opening
  readonly machine: SlotMachine
  readonly runner: SlotRunner
  /** Woken whenever the slot has changed. */
  readonly waiters: Waiters
  /** Aborts when the slot is let go of. */
  readonly life: AbortSignal
  /** What the next process is given behind the arguments of its configuration. */
  readonly setArgs: (args: readonly string[]) => void
}

/** What is asked of a slot by whoever waits for the outcome. Waits first until it is known what runs there. */
export class SlotRequests {
  readonly #seams: RequestSeams

  constructor(seams: RequestSeams) {
    this.#seams = seams
  }

  /**
   * Resolves when it is on its way; `args` are for this start only.
   *
   * @throws HsuError `SPAWN_FAILED`, `UNIT_FAILED`, `ALREADY_RUNNING` for arguments that come too late, `NODE_DRAINING`,
   * `TIMED_OUT`, the signal's reason
   */
  async start(signal: AbortSignal, origin?: Origin, args: readonly string[] = []): Promise<void> {
    const { opening, machine, unit, setArgs } = this.#seams
    if (!opening.isOpen) await opening.enter(signal)
    opening.refuseWhenClosing()
    const { phase } = machine.state
    const isUnderWay = phase === 'starting' || phase === 'up'
    if (isUnderWay && args.length > 0) {
      const text = `unit '${unit}' runs already, so it cannot be given arguments; stop it first`
      throw new HsuError('ALREADY_RUNNING', text, { details: { unit } })
    }
    if (!isUnderWay) setArgs(args)
    machine.dispatch('wantUp', '', origin)
    await this.#untilOnItsWay(signal)
  }

  /**
   * Joins a restart that has not spawned yet. With `force`, waits for no drain, dependency or backoff.
   * @throws HsuError `SPAWN_FAILED`, `UNIT_FAILED`, `NODE_DRAINING`, `TIMED_OUT`, the signal's reason
   */
  async restart(signal: AbortSignal, origin?: Origin, force = false): Promise<void> {
    const { opening, machine, runner, setArgs } = this.#seams
    if (!opening.isOpen) await opening.enter(signal)
    opening.refuseWhenClosing()
    const { phase, want } = machine.state
    const isUnderWay = phase === 'starting' && want === 'up' && runner.run === undefined
    if (!isUnderWay) {
      setArgs([])
      machine.dispatch(force ? 'forceRestart' : 'restart', 'restart asked for', origin)
    }
    await this.#untilOnItsWay(signal)
  }

  /**
   * Resolves when the process that is on its way serves, with '', or when it does not and will not soon, with why.
   * @throws the signal's reason
   */
  async untilServing(signal: AbortSignal): Promise<string> {
    const { machine, opening, waiters } = this.#seams
    const { generation, phase } = machine.state
    const next = phase === 'starting' || phase === 'up' ? generation : generation + 1
    const verdict = (): string | undefined => servingVerdict(machine.state, next, opening.isClosing)
    await waiters.until(() => verdict() !== undefined, signal)
    return verdict() ?? ''
  }

  /**
   * Resolves when its processes are gone, with how they ended; with nothing when there were none.
   * @throws HsuError `TIMED_OUT`, the signal's reason
   */
  async stop(signal: AbortSignal, origin?: Origin): Promise<readonly StoppedInstance[]> {
    const { opening } = this.#seams
    if (!opening.isOpen) await opening.enter(signal)
    return this.stopNow(signal, origin)
  }

  /** The same, of a slot that is known to be open. */
  async stopNow(signal: AbortSignal, origin: Origin | undefined): Promise<readonly StoppedInstance[]> {
    const { clock, unit, machine, runner, waiters } = this.#seams
    const sinceMs = clock.nowMs()
    machine.dispatch('wantDown', STOPPED, origin)
    const hadProcesses = machine.state.phase === 'stopping'
    const isDown = (): boolean => runner.run === undefined && machine.state.phase === 'down'
    await waiters.until(isDown, signal)
    if (!hadProcesses) return []
    const { exit } = machine.state
    return [{ unit, instance: runner.instance, exit, tookMs: clock.nowMs() - sinceMs }]
  }

  /** Ends the whole tree by force; what follows is up to the restart policy. @throws HsuError `TIMED_OUT` */
  async kill(origin?: Origin): Promise<void> {
    const { opening, runner, life } = this.#seams
    if (!opening.isOpen) await opening.enter(life)
    await runner.kill(origin)
  }

  /** Sends a signal to the unit's own program. @throws HsuError `NOT_STARTED` when there is none, `TIMED_OUT` */
  async signal(name: NodeJS.Signals): Promise<void> {
    const { opening, machine, runner, unit, life } = this.#seams
    if (!opening.isOpen) await opening.enter(life)
    const { run } = runner
    if ((await run?.signal(name)) === true) return
    throw new HsuError('NOT_STARTED', `unit '${unit}' has no process to signal: it is ${machine.state.phase}`)
  }

  /** @throws HsuError `SPAWN_FAILED`, `UNIT_FAILED`, the signal's reason */
  async #untilOnItsWay(signal: AbortSignal): Promise<void> {
    const { machine, runner, waiters, unit } = this.#seams
    const generation = machine.state.generation + (machine.state.phase === 'stopping' ? 1 : 0)
    const decided = (): boolean => isDecided(machine.state, generation, runner.run !== undefined)
    await waiters.until(decided, signal)
    const { phase, reason } = machine.state
    if (phase !== 'failed') return
    const { startFault } = runner
    if (startFault !== undefined) throw startFault
    throw new HsuError('UNIT_FAILED', `unit '${unit}' failed: ${reason}`, { details: { unit } })
  }
}
