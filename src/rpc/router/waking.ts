import { type Clock, TIMED_OUT } from '../../base/clock.ts'
import { HsuError } from '../../base/error.ts'
import type { Endpoint, EndpointSource } from '../endpoint-source.ts'
import { Flights, late } from './flights.ts'

/** What is to be ready: a unit, wherever it may run or on one node. */
export interface Sleeper {
  readonly unit: string
  /** Name or id; undefined = any node that has the unit. */
  readonly node: string | undefined
}

/**
 * Starts a unit that sleeps, once however often it is asked, or waits for one that is on its way; resolves with endpoints that
 * are ready.
 *
 * @throws HsuError why there are none; the signal's reason
 */
export type Wake = (sleeper: Sleeper, signal: AbortSignal) => Promise<readonly Endpoint[]>

export interface WakingSeams {
  readonly clock: Clock
  readonly wake: Wake
  readonly endpoints?: Pick<EndpointSource, 'settling'>
}

/** Holds calls to units that sleep, start or are restarted until these are ready. */
export interface Waking {
  /**
   * Undefined when calls wait for none of `endpoints`. Else resolves with endpoints to pick from, ready now. The body of a
   * held call is not read, so that it takes no more memory than the window of its stream.
   *
   * @throws HsuError the answer to the call: `WAKE_FAILED`, `QUEUE_FULL`, what `wake` throws, the signal's reason
   */
  hold(
    endpoints: readonly Endpoint[],
    node: string | undefined,
    signal: AbortSignal,
  ): Promise<readonly Endpoint[]> | undefined
  /**
   * Of a call for a name that is not known. Undefined when it is known what the units of this node offer; else resolves once it
   * is, or after a bounded while. @throws HsuError `QUEUE_FULL`, the signal's reason
   */
  settling(signal: AbortSignal): Promise<void> | undefined
  /** Calls that are held now. */
  readonly held: number
}

/** Units that offer the same service are asked one after the other, so many at most. */
const MAX_UNITS = 4

/** The node says when it knows the names of its units; should it not say so, calls for unknown names go on after this. */
const MAX_SETTLING_MS = 10_000

export function createWaking({ clock, wake, endpoints: source }: WakingSeams): Waking {
  const flights = new Flights(clock)

  async function holdFor(
    units: readonly Awaitable[],
    node: string | undefined,
    signal: AbortSignal,
  ): Promise<readonly Endpoint[]> {
    const beganAtMs = clock.nowMs()
    let refusal: HsuError | undefined
    for (const { unit, holdMs } of units) {
      const leftMs = beganAtMs + holdMs - clock.nowMs()
      if (leftMs <= 0) throw late(unit, holdMs, 'call')
      const awaited = {
        key: `${unit}\n${node ?? ''}`,
        label: `unit '${unit}' to start`,
        begin: (inner: AbortSignal) => wake({ unit, node }, inner),
      }
      try {
        const outcome = await flights.join(awaited, leftMs, signal)
        if (outcome !== TIMED_OUT) return outcome
      } catch (thrown) {
        signal.throwIfAborted()
        const error = HsuError.from(thrown)
        if (error.reason !== 'WAKE_FAILED') throw error
        refusal ??= error
        continue
      }
      throw late(unit, holdMs, 'call')
    }
    throw refusal ?? new HsuError('INTERNAL', 'a call waits for no unit')
  }

  async function untilSettled(settled: Promise<void>, signal: AbortSignal): Promise<void> {
    const names = { key: '', label: 'the node to know what its units offer', begin: () => settled }
    await flights.join(names, MAX_SETTLING_MS, signal)
  }

  return {
    get held() {
      return flights.held
    },
    hold(endpoints, node, signal) {
      const units = awaitable(endpoints)
      return units.length === 0 ? undefined : holdFor(units, node, signal)
    },
    settling(signal) {
      const settled = source?.settling?.()
      return settled && untilSettled(settled, signal)
    },
  }
}

/** A unit that calls wait for. */
interface Awaitable {
  readonly unit: string
  readonly holdMs: number
}

/** Several units may offer the service: those that only need to be waited for come first, then all nodes take the same order. */
function awaitable(endpoints: readonly Endpoint[]): readonly Awaitable[] {
  const units = new Map<string, Awaitable & { readonly starts: boolean }>()
  for (const { unit, onCall } of endpoints) if (onCall !== undefined) units.set(unit, { unit, ...onCall })
  return [...units.values()]
    .sort(
      (one, other) =>
        Number(one.starts) - Number(other.starts) || (one.unit < other.unit ? -1 : one.unit > other.unit ? 1 : 0),
    )
    .slice(0, MAX_UNITS)
}
