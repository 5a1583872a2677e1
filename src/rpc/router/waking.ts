import { type Clock, TIMED_OUT, within } from '../../base/clock.ts'
import { HsuError } from '../../base/error.ts'
import { formatDurationMs } from '../../base/quantity.ts'
import type { Endpoint } from '../endpoint-source.ts'

/** What is to be woken: a unit, wherever it may run or on one node. */
export interface Sleeper {
  readonly unit: string
  /** Name or id; undefined = any node that has the unit. */
  readonly node: string | undefined
}

/**
 * Starts a unit that sleeps, once however often it is asked; resolves with endpoints that are ready.
 *
 * @throws HsuError why there are none; the signal's reason
 */
export type Wake = (sleeper: Sleeper, signal: AbortSignal) => Promise<readonly Endpoint[]>

export interface WakingSeams {
  readonly clock: Clock
  readonly wake: Wake
}

/** Holds calls to units that sleep until these are awake. */
export interface Waking {
  /**
   * Undefined when none of `endpoints` is started by calls. Else resolves with endpoints to pick from, ready now. The
   * body of a held call is not read, so that it takes no more memory than the window of its stream.
   *
   * @throws HsuError the answer to the call: `WAKE_FAILED`, `QUEUE_FULL`, what `wake` throws, the signal's reason
   */
  hold(
    endpoints: readonly Endpoint[],
    node: string | undefined,
    signal: AbortSignal,
  ): Promise<readonly Endpoint[]> | undefined
  /** Calls that are held now. */
  readonly held: number
}

/** Calls held for one unit; with windows of 256 KiB at most 256 MiB could wait for it in the buffers of their connections. */
const MAX_HELD_OF_UNIT = 1_000
const MAX_HELD = 4_000

/** For so long after a failed wake the same answer is given without asking: callers that insist do not make a storm. */
const REFUSE_MS = 1_000

/** One wake that is under way, and the calls that wait for it. */
interface Flight {
  readonly abort: AbortController
  readonly outcome: Promise<readonly Endpoint[]>
  held: number
}

export function createWaking({ clock, wake }: WakingSeams): Waking {
  const flights = new Map<string, Flight>()
  const refusals = new Map<string, { readonly error: HsuError; readonly untilMs: number }>()
  let held = 0

  function flightOf(key: string, sleeper: Sleeper): Flight {
    const known = flights.get(key)
    if (known !== undefined) return known
    const abort = new AbortController()
    const outcome = wake(sleeper, abort.signal)
      .catch((thrown: unknown) => {
        const error = HsuError.from(thrown)
        if (!abort.signal.aborted) refuse(key, error)
        throw error
      })
      .finally(() => {
        if (flights.get(key) === flight) flights.delete(key)
      })
    outcome.catch(() => undefined) // all who wait may have gone
    const flight: Flight = { abort, outcome, held: 0 }
    flights.set(key, flight)
    return flight
  }

  function refuse(key: string, error: HsuError): void {
    for (const [known, { untilMs }] of refusals) if (untilMs <= clock.nowMs()) refusals.delete(known)
    refusals.set(key, { error, untilMs: clock.nowMs() + REFUSE_MS })
  }

  async function hold(sleeper: Sleeper, holdMs: number, signal: AbortSignal): Promise<readonly Endpoint[]> {
    const { unit, node } = sleeper
    const key = `${unit}\n${node ?? ''}`
    const refusal = refusals.get(key)
    if (refusal !== undefined && clock.nowMs() < refusal.untilMs) throw refusal.error
    if (held >= MAX_HELD || (flights.get(key)?.held ?? 0) >= MAX_HELD_OF_UNIT) throw tooMany(unit)
    signal.throwIfAborted()
    const flight = flightOf(key, sleeper)
    flight.held += 1
    held += 1
    try {
      const outcome = await within(clock, holdMs, unlessAborted(flight.outcome, signal))
      if (outcome !== TIMED_OUT) return outcome
      throw late(unit, holdMs)
    } finally {
      held -= 1
      flight.held -= 1
      if (flight.held === 0) {
        if (flights.get(key) === flight) flights.delete(key)
        flight.abort.abort(new HsuError('CANCELLED', 'nobody waits for it any more'))
      }
    }
  }

  return {
    get held() {
      return held
    },
    hold(endpoints, node, signal) {
      // Several units may offer the service: the one that all nodes choose.
      const [first] = endpoints
        .filter(({ onCall }) => onCall !== undefined)
        .sort((one, other) => (one.unit < other.unit ? -1 : one.unit > other.unit ? 1 : 0))
      if (first?.onCall === undefined) return undefined
      return hold({ unit: first.unit, node }, first.onCall.holdMs, signal)
    },
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

function tooMany(unit: string): HsuError {
  const text = `too many calls wait for unit '${unit}' to start; at most ${MAX_HELD_OF_UNIT} do for one unit, ${MAX_HELD} for all`
  return new HsuError('QUEUE_FULL', text, { details: { unit } })
}

function late(unit: string, holdMs: number): HsuError {
  const text = `unit '${unit}' is not ready after the ${formatDurationMs(holdMs)} that a call waits for it`
  return new HsuError('WAKE_FAILED', text, { details: { unit, holdMs } })
}
