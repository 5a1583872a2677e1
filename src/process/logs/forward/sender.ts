import { type BackoffPolicy, backoffMs } from '../../../base/backoff.ts'
import { aborted, withSignal } from '../../../base/abort.ts'
import type { Clock } from '../../../base/clock.ts'
import { messageOf } from '../../../base/error.ts'
import type { Log } from '../../../base/log.ts'
import type { Random } from '../../../base/random.ts'
import type { LogLine } from '../query.ts'
import { type Refusal, SendError, type Sink } from './destination.ts'

const BACKOFF: BackoffPolicy = { minMs: 500, maxMs: 30_000, factor: 2, jitter: 0.2 }

/** When to give up: once `stop` aborts no try follows one that failed; `now` ends the one under way as well. */
export interface Patience {
  readonly stop: AbortSignal
  readonly now: AbortSignal
}

/**
 * Brings lines of all units to one destination, one batch at a time, each until it was taken: with rests in between that
 * grow. A time in which that fails is told when it begins and when it is over.
 */
export class Sender {
  readonly #seams: { readonly clock: Clock; readonly random: Random; readonly log: Log }
  readonly #sink: Sink
  #last: Promise<unknown> = Promise.resolve()
  #isFailing = false

  constructor(seams: { readonly clock: Clock; readonly random: Random; readonly log: Log }, sink: Sink) {
    this.#seams = seams
    this.#sink = sink
  }

  /** Resolves when the destination took the lines, with those that it refused for good. @throws when patience ends */
  async send(lines: readonly LogLine[], patience: Patience): Promise<Refusal | undefined> {
    const before = this.#last
    let release = (): void => undefined
    const turn = new Promise<void>((resolve) => {
      release = resolve
    })
    this.#last = before.then(() => turn)
    try {
      await withSignal(patience.now, (signal) => Promise.race([before, aborted(signal)]))
      patience.now.throwIfAborted()
      return await this.#deliver(lines, patience)
    } finally {
      release()
    }
  }

  close(): void {
    this.#sink.close()
  }

  async #deliver(lines: readonly LogLine[], { stop, now }: Patience): Promise<Refusal | undefined> {
    const { clock, random, log } = this.#seams
    for (let attempt = 1; ; attempt += 1) {
      try {
        const refused = await this.#try(lines, now)
        if (this.#isFailing) log.info('lines are forwarded again')
        this.#isFailing = false
        return refused
      } catch (error) {
        now.throwIfAborted()
        if (!this.#isFailing) log.warn('lines cannot be forwarded, which is tried again', { cause: messageOf(error) })
        this.#isFailing = true
        const wanted = error instanceof SendError ? error.afterMs : 0
        await clock.sleep(Math.max(wanted, backoffMs(attempt, BACKOFF, random)), stop)
      }
    }
  }

  async #try(lines: readonly LogLine[], now: AbortSignal): Promise<Refusal | undefined> {
    const { timeoutMs } = this.#sink
    const limit = new AbortController()
    const end = (): void => limit.abort(now.reason)
    now.addEventListener('abort', end)
    if (now.aborted) end()
    const timer = new AbortController()
    const late = (): void => limit.abort(new Error(`it has taken nothing for ${timeoutMs / 1_000} s`))
    this.#seams.clock.sleep(timeoutMs, timer.signal).then(late, () => undefined)
    try {
      return await this.#sink.send(lines, limit.signal)
    } finally {
      timer.abort()
      now.removeEventListener('abort', end)
    }
  }
}
