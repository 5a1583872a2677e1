import { aborted, withSignal } from '../base/abort.ts'
import { type Clock, within } from '../base/clock.ts'
import { messageOf } from '../base/error.ts'
import type { Log } from '../base/log.ts'
import type { TaskGroup } from '../base/task-group.ts'
import type { Exit } from './exit.ts'
import type { Child, ProcessHost } from './host.ts'
import type { UnitSpec } from './launch.ts'
import { type AllGone, killTree, terminate } from './terminate.ts'

/** Ending a unit can fail for reasons that pass (no file descriptor left, say); it is tried again, so often and after this. */
const MAX_ATTEMPTS = 30
const RETRY_MS = 1_000

/** The news that a process ended comes with its end; when it has not come after this, it never will. */
const NEWS_MS = 1_000

/** What tells callers has a shorter bound of its own. */
const MAX_WITHDRAW_MS = 5_000

type TurnAway = (unit: string, instance: string, signal: AbortSignal) => Promise<void>

export interface EndSeams {
  readonly clock: Clock
  readonly log: Log
  readonly host: ProcessHost
  /** See `SupervisorSeams`. */
  readonly withdraw?: TurnAway | undefined
  readonly drain: TurnAway
  /** The tasks of the slot, which live no longer than it. */
  readonly tasks: TaskGroup
}

/** Whose end it is. */
export interface Mortal {
  readonly unit: string
  readonly instance: string
  readonly child: Child
}

/** How an instance is asked to end. */
export interface EndTerms {
  readonly stop: UnitSpec['config']['stop']
  /** It was ready, so callers may have to turn away first. */
  readonly mayBeCalled: boolean
  /** Asks in the unit's own way. Does not reject. */
  readonly runCommand: (command: readonly string[], signal: AbortSignal) => Promise<void>
}

/** The end of an instance: brought about in good order or by force, and nothing of it is left. */
export class InstanceEnd {
  readonly #seams: EndSeams
  readonly #mortal: Mortal
  /** Aborts when it cannot be ended, and is no longer waited for. */
  readonly #lost = new AbortController()
  /** Aborts when its callers get no more time to turn away. */
  readonly #hurry = new AbortController()
  #killed = false
  /** The end we have begun to bring about. */
  #ending: Promise<void> | undefined

  constructor(seams: EndSeams, mortal: Mortal) {
    this.#seams = seams
    this.#mortal = mortal
  }

  /** True from the moment somebody asked for it. */
  get isAskedFor(): boolean {
    return this.#ending !== undefined
  }

  /** It is, or will be, what was asked for or done here, and not an end of its own. */
  get isOurDoing(): boolean {
    return this.#killed || this.isAskedFor
  }

  /** Waits until the process has ended, or is given up as lost. @throws the signal's reason */
  async untilExited(signal: AbortSignal): Promise<Exit | undefined> {
    const { exited } = this.#mortal.child
    const exit = await withSignal(signal, (inner) => Promise.race([exited, aborted(this.#lost.signal), aborted(inner)]))
    signal.throwIfAborted()
    return exit ?? undefined
  }

  /** Sees to it that nothing is left of a process that has ended. @throws the signal's reason */
  async clearAway(signal: AbortSignal): Promise<void> {
    const { host, clock } = this.#seams
    await (this.#ending ?? this.#insist(() => killTree(host, this.#mortal.child, [], clock, signal)))
    signal.throwIfAborted()
  }

  /** Drains it, asks it to end, and kills what is left after its grace. A second call changes nothing. */
  async ask(terms: EndTerms): Promise<void> {
    if (this.#ending !== undefined) return
    this.#ending = this.#end(terms)
    await this.#ending
  }

  /** Does not drain it, or no longer. */
  hurry(): void {
    this.#hurry.abort()
  }

  /** Ends the whole tree by force. */
  kill(): Promise<AllGone> {
    this.#killed = true
    const { host, clock, tasks } = this.#seams
    return killTree(host, this.#mortal.child, [], clock, tasks.signal)
  }

  /** Ends it by force, however often that takes; in the end it is given up as lost. */
  async killSurely(): Promise<void> {
    if (!(await this.#insist(() => this.kill()))) this.#lost.abort()
  }

  async #end({ stop, mayBeCalled, runCommand }: EndTerms): Promise<void> {
    const { host, clock, tasks } = this.#seams
    const { child } = this.#mortal
    if (mayBeCalled && !this.#hurry.signal.aborted) await this.#drain(stop.drain)
    const { signal, grace: graceMs, command } = stop
    const policy = {
      signal,
      graceMs,
      command: command && ((outer: AbortSignal) => runCommand(command, outer)),
    }
    const isGone = await this.#insist(() => terminate(host, child, policy, clock, tasks.signal))
    if (isGone) {
      await withSignal(tasks.signal, (inner) => within(clock, NEWS_MS, Promise.race([child.exited, aborted(inner)])))
    }
    this.#lost.abort()
  }

  /** Gives callers time to turn away, no longer than configured; cut short when the process ends by itself. */
  async #drain(drainMs: number): Promise<void> {
    const { clock, withdraw, drain, tasks } = this.#seams
    const { unit, instance, child } = this.#mortal
    await withSignal(tasks.signal, async (signal) => {
      const over = Promise.race([child.exited, aborted(this.#hurry.signal), aborted(signal)])
      const step = (turnAway: TurnAway, withinMs: number): Promise<unknown> => {
        const done = turnAway(unit, instance, signal).catch((error: unknown) => {
          if (!signal.aborted) this.#seams.log.warn('unit could not be drained', { cause: messageOf(error) })
        })
        return within(clock, withinMs, Promise.race([done, over]))
      }
      // Without time to turn away, callers are told, and not waited for.
      if (withdraw !== undefined) await step(withdraw, drainMs === 0 ? 0 : MAX_WITHDRAW_MS)
      if (!this.#hurry.signal.aborted) await step(drain, drainMs)
    })
  }

  /** Tries `end` until it does not fail. False when processes are left. @throws the signal's reason */
  async #insist(end: () => Promise<AllGone>): Promise<AllGone> {
    const { signal } = this.#seams.tasks
    for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt += 1) {
      try {
        const isGone = await end()
        if (!isGone) this.#seams.log.error('processes of a unit do not end though killed, and are left', {})
        return isGone
      } catch (error) {
        signal.throwIfAborted()
        this.#seams.log.error('unit cannot be stopped, which is tried again', { attempt, error })
        await this.#seams.clock.sleep(RETRY_MS, signal)
      }
    }
    return false
  }
}
