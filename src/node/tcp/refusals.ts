import type { Clock } from '../../base/clock.ts'
import { HsuError } from '../../base/error.ts'

/** Connections that were reset because of the unit they were for. */
export interface TurnedAway {
  readonly unit: string
  /** Where they came. */
  readonly listen: string
  readonly connections: number
  /** Why, of the last of them. */
  readonly error: HsuError
}

/** Those that come together are told of together, and those of one address at most once a second. */
const GATHER_MS = 100
const REST_MS = 1_000

interface Gathering {
  connections: number
  error: HsuError
  /** When it was told of last, by `nowMs`. */
  toldAtMs: number
}

/** Tells of connections that were turned away, however many they are, in few words. */
export class Refusals {
  readonly #clock: Clock
  readonly #tell: (news: TurnedAway) => void
  readonly #gathering = new Map<string, Gathering>()
  readonly #ended = new AbortController()

  constructor(clock: Clock, tell: (news: TurnedAway) => void) {
    this.#clock = clock
    this.#tell = tell
  }

  add({ unit, listen }: Pick<TurnedAway, 'unit' | 'listen'>, error: HsuError): void {
    const nowMs = this.#clock.nowMs()
    const known = this.#gathering.get(listen) ?? { connections: 0, error, toldAtMs: nowMs - REST_MS }
    this.#gathering.set(listen, known)
    known.connections += 1
    known.error = error
    if (known.connections > 1) return
    const waitMs = Math.max(GATHER_MS, known.toldAtMs + REST_MS - nowMs)
    const flush = (): void => {
      this.#tell({ unit, listen, connections: known.connections, error: known.error })
      known.connections = 0
      known.toldAtMs = this.#clock.nowMs()
    }
    void this.#clock.sleep(waitMs, this.#ended.signal).then(flush, flush)
  }

  /** Tells what is not told yet. */
  stop(): void {
    this.#ended.abort(new HsuError('CANCELLED', 'the node stops'))
  }
}
