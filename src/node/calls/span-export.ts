import { withSignal } from '../../base/abort.ts'
import { type BackoffPolicy, backoffMs } from '../../base/backoff.ts'
import { type Clock, TIMED_OUT, within } from '../../base/clock.ts'
import { messageOf } from '../../base/error.ts'
import type { JsonPost } from '../../base/json-post.ts'
import type { Service } from '../../base/lifecycle.ts'
import type { Log } from '../../base/log.ts'
import { type OtlpAnswer, otlpAnswerOf } from '../../base/otlp-answer.ts'
import type { Random } from '../../base/random.ts'
import { createTaskGroup, type TaskGroup } from '../../base/task-group.ts'
import type { CallDoors, EndedCalls } from '../../rpc/index.ts'
import { type SpanContext, spanOf, tracesBody } from './span.ts'

export interface SpanExportSeams {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly watch: CallDoors['watch']
  readonly post: JsonPost
}

/** Spans that wait for the collector; those that come beyond are lost, and told of. About 8 MB. */
const MAX_WAITING = 8_192
/** Spans of one request. */
const MAX_BATCH = 512
const SEND_EVERY_MS = 1_000
const TIMEOUT_MS = 10_000
/** For what is left at the end. */
const FAREWELL_MS = 2_000
/** Lost spans are told of so often at most. */
const TELL_EVERY_MS = 60_000

const BACKOFF: BackoffPolicy = { minMs: 1_000, maxMs: 60_000, factor: 2, jitter: 0.2 }

type Fault = Pick<Extract<OtlpAnswer, { taken: false }>, 'passes' | 'why' | 'afterMs'>

/** Sends a span to a collector for each call whose caller wants its trace recorded, away from the path of the calls. */
export function createSpanExport(seams: SpanExportSeams, context: SpanContext): Service {
  return new SpanExport(seams, context)
}

class SpanExport implements Service {
  readonly name = 'traces'
  readonly #seams: SpanExportSeams
  readonly #context: SpanContext
  readonly #tasks: TaskGroup
  #end: (() => void) | undefined
  #waiting: object[] = []
  #lost = 0
  #toldAtMs = -Infinity
  #failures = 0
  #notBeforeMs = -Infinity

  constructor(seams: SpanExportSeams, context: SpanContext) {
    this.#seams = seams
    this.#context = context
    this.#tasks = createTaskGroup((error) => seams.log.error('traces are not sent', { cause: messageOf(error) }))
  }

  async start(): Promise<void> {
    const { clock, watch } = this.#seams
    this.#end = watch({ share: 0, failed: false, traced: true }, (ended) => this.#take(ended))
    this.#tasks.run(async (signal) => {
      for (;;) {
        await clock.sleep(SEND_EVERY_MS, signal)
        if (clock.nowMs() >= this.#notBeforeMs) await this.#sendAll(signal)
        this.#report(false)
      }
    })
  }

  /** Calls that have ended by now are told of, if the collector takes them at once. */
  async stop(): Promise<void> {
    const { clock, post } = this.#seams
    this.#end?.()
    this.#end = undefined
    await this.#tasks.stop()
    const farewell = new AbortController()
    await within(clock, FAREWELL_MS, this.#sendAll(farewell.signal))
    farewell.abort()
    this.#lost += this.#waiting.length
    this.#waiting = []
    this.#report(true)
    post.close()
  }

  #take({ calls, lost }: EndedCalls): void {
    this.#lost += lost
    for (const call of calls) {
      if (this.#waiting.length >= MAX_WAITING) {
        this.#lost += 1
        continue
      }
      const span = spanOf(call, this.#context, this.#seams.random)
      if (span !== undefined) this.#waiting.push(span)
    }
  }

  async #sendAll(signal: AbortSignal): Promise<void> {
    while (this.#waiting.length > 0 && !signal.aborted) {
      const batch = this.#waiting.slice(0, MAX_BATCH)
      const fault = await this.#send(tracesBody(batch, this.#context), signal)
      if (fault?.passes === true) {
        this.#failed(fault, signal)
        return
      }
      this.#waiting.splice(0, batch.length)
      if (fault === undefined) {
        if (this.#failures > 0) this.#seams.log.info('traces are sent again')
        this.#failures = 0
      } else {
        this.#lost += batch.length
        this.#seams.log.warn('the collector refuses spans', { cause: fault.why })
      }
    }
  }

  /** Undefined when the collector took the spans. */
  async #send(body: string, signal: AbortSignal): Promise<Fault | undefined> {
    const { clock, post } = this.#seams
    try {
      const sent = await withSignal(signal, (limit) => within(clock, TIMEOUT_MS, post.send(body, limit)))
      if (sent === TIMED_OUT) return { passes: true, why: 'no answer in time', afterMs: 0 }
      const answer = otlpAnswerOf(sent, 'rejectedSpans')
      if (!answer.taken) return answer
      this.#lost += answer.rejected
      return undefined
    } catch (error) {
      return { passes: true, why: messageOf(error), afterMs: 0 }
    }
  }

  #failed({ why, afterMs }: Fault, signal: AbortSignal): void {
    if (signal.aborted) return
    const { clock, random, log } = this.#seams
    if (this.#failures === 0) log.warn('traces cannot be sent, which is tried again', { cause: why })
    this.#failures += 1
    this.#notBeforeMs = clock.nowMs() + Math.max(afterMs, backoffMs(this.#failures, BACKOFF, random))
  }

  #report(surely: boolean): void {
    const { clock, log } = this.#seams
    if (this.#lost === 0 || (!surely && clock.nowMs() - this.#toldAtMs < TELL_EVERY_MS)) return
    log.warn('spans are lost', { lost: this.#lost })
    this.#lost = 0
    this.#toldAtMs = clock.nowMs()
  }
}
