import { type Clock, TIMED_OUT, within } from '../../base/clock.ts'
import { HsuError } from '../../base/error.ts'
import { formatDurationMs } from '../../base/quantity.ts'

/** Calls held for one unit; with windows of 256 KiB at most 256 MiB could wait for it in the buffers of their connections. */
const MAX_HELD_OF_UNIT = 1_000
const MAX_HELD = 4_000

/** For so long after a failed wake the same answer is given without asking: callers that insist do not make a storm. */
const REFUSE_MS = 1_000

/** One wait that is under way, and the calls that take part in it. */
interface Flight {
  readonly abort: AbortController
  readonly outcome: Promise<unknown>
  held: number
}

/** What calls wait for. */
export interface Awaited<T> {
  readonly key: string
  /** Of whom it is, in a message: `unit 'echo'`. */
  readonly label: string
  readonly begin: (signal: AbortSignal) => Promise<T>
}

/** Waits of many for few things: what is waited for is begun once, and called off when nobody is left. */
export class Flights {
  readonly #clock: Clock
  readonly #flights = new Map<string, Flight>()
  readonly #refusals = new Map<string, { readonly error: HsuError; readonly untilMs: number }>()
  held = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** @throws HsuError `QUEUE_FULL`, what `begin` throws or threw a moment ago, the signal's reason */
  async join<T>(awaited: Awaited<T>, forMs: number, signal: AbortSignal): Promise<T | typeof TIMED_OUT> {
    const { key, label } = awaited
    const refusal = this.#refusals.get(key)
    if (refusal !== undefined && this.#clock.nowMs() < refusal.untilMs) throw refusal.error
    if (this.held >= MAX_HELD || (this.#flights.get(key)?.held ?? 0) >= MAX_HELD_OF_UNIT) throw tooMany(label)
    signal.throwIfAborted()
    const flight = this.#flights.get(key) ?? this.#begin(awaited)
    flight.held += 1
    this.held += 1
    try {
      return await within(this.#clock, forMs, unlessAborted(flight.outcome as Promise<T>, signal))
    } finally {
      this.held -= 1
      flight.held -= 1
      if (flight.held === 0) {
        this.#end(key, flight)
        flight.abort.abort(new HsuError('CANCELLED', 'nobody waits for it any more'))
      }
    }
  }

  #begin({ key, begin }: Awaited<unknown>): Flight {
    const abort = new AbortController()
    const outcome = begin(abort.signal)
      .catch((thrown: unknown) => {
        const error = HsuError.from(thrown)
        if (!abort.signal.aborted) this.#refuse(key, error)
        throw error
      })
      .finally(() => this.#end(key, flight))
    outcome.catch(() => undefined) // all who wait may have gone
    const flight: Flight = { abort, outcome, held: 0 }
    this.#flights.set(key, flight)
    return flight
  }

  #end(key: string, flight: Flight): void {
    if (this.#flights.get(key) === flight) this.#flights.delete(key)
  }

  #refuse(key: string, error: HsuError): void {
    const nowMs = this.#clock.nowMs()
    for (const [known, { untilMs }] of this.#refusals) if (untilMs <= nowMs) this.#refusals.delete(known)
    this.#refusals.set(key, { error, untilMs: nowMs + REFUSE_MS })
  }
}

/** Leaves no listener behind. */
async function unlessAborted<T>(task: Promise<T>, signal: AbortSignal): Promise<T> {
  let leave: () => void = () => undefined
  const left = new Promise<never>((_, reject) => {
    leave = () => reject(signal.reason as Error)
  })
  signal.addEventListener('abort', leave)
  return Promise.race([task, left]).finally(() => signal.removeEventListener('abort', leave))
}

/** Of a unit for which a `waiter` waited in vain: a call, or a connection. */
export function late(unit: string, holdMs: number, waiter: 'call' | 'connection'): HsuError {
  const text = `unit '${unit}' is not ready after the ${formatDurationMs(holdMs)} that a ${waiter} waits for it`
  return new HsuError('WAKE_FAILED', text, { details: { unit, holdMs } })
}

function tooMany(label: string): HsuError {
  const text = `too many calls wait for ${label}; at most ${MAX_HELD_OF_UNIT} do for one unit, ${MAX_HELD} for all`
  return new HsuError('QUEUE_FULL', text)
}
