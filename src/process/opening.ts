import { withSignal } from '../base/abort.ts'
import { type Clock, TIMED_OUT, within } from '../base/clock.ts'
import { HsuError } from '../base/error.ts'
import { createWaiters } from './waiters.ts'

/** How long a request waits until it is known what runs. A node that has not found out by then cannot look at the system. */
const FIND_OUT_WITHIN_MS = 30_000

/** Whether requests are taken: not before it is known what an earlier node left, and no start any more once it ends. */
export class Opening {
  readonly #unit: string
  readonly #clock: Clock
  readonly #waiters = createWaiters()
  #isOpen = false
  #isClosing = false

  constructor(unit: string, clock: Clock) {
    this.#unit = unit
    this.#clock = clock
  }

  /** When it is, nobody needs to wait, not even until the next turn. */
  get isOpen(): boolean {
    return this.#isOpen
  }

  get isClosing(): boolean {
    return this.#isClosing
  }

  /** It is known what runs. */
  open(): void {
    this.#isOpen = true
    this.#waiters.wake()
  }

  /** Nothing is begun any more. */
  beginClosing(): void {
    this.#isClosing = true
  }

  /** Resolves when it is known what runs, however long that takes. */
  async opened(): Promise<void> {
    await this.#waiters.until(() => this.#isOpen, new AbortController().signal)
  }

  /** Resolves when it is known what runs. @throws HsuError `TIMED_OUT`, the signal's reason */
  async enter(signal: AbortSignal): Promise<void> {
    const opened = withSignal(signal, (inner) =>
      within(
        this.#clock,
        FIND_OUT_WITHIN_MS,
        this.#waiters.until(() => this.#isOpen, inner),
      ),
    )
    if ((await opened) !== TIMED_OUT) return
    const text = `it is not known yet what runs of unit '${this.#unit}': the system has not answered for ${FIND_OUT_WITHIN_MS / 1_000} s; try again`
    throw new HsuError('TIMED_OUT', text, { details: { unit: this.#unit } })
  }

  /** @throws HsuError `NODE_DRAINING` when nothing is begun any more */
  refuseWhenClosing(): void {
    if (!this.#isClosing) return
    const text = `unit '${this.#unit}' is being ended, and is not started any more`
    throw new HsuError('NODE_DRAINING', text, { details: { unit: this.#unit } })
  }
}
