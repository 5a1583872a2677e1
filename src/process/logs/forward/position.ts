import * as z from 'zod'
import type { Clock } from '../../../base/clock.ts'
import { messageOf } from '../../../base/error.ts'
import type { Log } from '../../../base/log.ts'
import { readJson, type Store, writeJson } from '../../../base/store.ts'
import type { LogLine, LogQuery } from '../query.ts'

/** Instances of one replica whose lines may lie among each other. */
const MAX_INSTANCES = 4
/** How often it is written down; a node that is killed sends again what it sent since. */
const SAVE_MS = 1_000

const record = z.object({
  sinceMs: z.number(),
  /** By replica: its instances and the number of the next line of each; the one that was sent last stands last. */
  replicas: z.record(z.string(), z.array(z.tuple([z.string(), z.number()]))),
})

export interface PositionSeams {
  readonly clock: Clock
  readonly log: Log
  readonly store: Store
}

/** How far the log of a unit was sent to one destination. A log is read in order, so that the last line sent says all. */
export class Position {
  readonly #seams: PositionSeams
  readonly #key: string
  readonly #sinceMs: number
  readonly #replicas: Map<number, Map<string, number>>
  #savedAtMs = -Infinity
  #isSaved = true

  private constructor(seams: PositionSeams, key: string, known: z.output<typeof record>) {
    this.#seams = seams
    this.#key = key
    this.#sinceMs = known.sinceMs
    this.#replicas = new Map(Object.entries(known.replicas).map(([replica, next]) => [Number(replica), new Map(next)]))
  }

  /** Where it was left, or, of a new destination, at `sinceMs`. */
  static async load(seams: PositionSeams, key: string, sinceMs: number): Promise<Position> {
    const known = await readJson(seams.store, key, (raw) => record.parse(raw), seams.log)
    const position = new Position(seams, key, known ?? { sinceMs, replicas: {} })
    position.#isSaved = known !== undefined
    return position
  }

  /** What was not sent yet. */
  query(unit: string, follow: boolean): LogQuery {
    const after = [...this.#replicas.values()].flatMap((instances) =>
      [...instances].slice(-1).map(([instance, next]) => ({ instance, seq: next - 1 })),
    )
    const all = { tail: undefined, stream: undefined, grep: undefined }
    return { units: [unit], follow, sinceMs: this.#sinceMs, after, ...all }
  }

  /** These were sent. */
  note(lines: readonly LogLine[]): void {
    for (const { replica, instance, seq } of lines) {
      const instances = this.#replicas.get(replica) ?? new Map<string, number>()
      this.#replicas.set(replica, instances)
      instances.delete(instance)
      instances.set(instance, seq + 1)
      for (const oldest of instances.keys()) {
        if (instances.size <= MAX_INSTANCES) break
        instances.delete(oldest)
      }
    }
    this.#isSaved = false
  }

  /** How many lines are missing between what was sent and these. */
  missingBefore(lines: readonly LogLine[]): number {
    let missing = 0
    const next = new Map<string, number>()
    for (const { replica, instance, seq } of lines) {
      const known = this.#replicas.get(replica)
      // Of a replica that was never sent before, nobody knows where it should begin; a new instance begins at 0.
      const expected = next.get(instance) ?? known?.get(instance) ?? (known === undefined ? seq : 0)
      missing += Math.max(0, seq - expected)
      next.set(instance, seq + 1)
    }
    return missing
  }

  /** Writes it down when that is due, or `surely`. Never rejects: it can be tried again with the next lines. */
  async save(surely = false): Promise<void> {
    const { clock, log, store } = this.#seams
    if (this.#isSaved || (!surely && clock.nowMs() - this.#savedAtMs < SAVE_MS)) return
    const replicas = Object.fromEntries([...this.#replicas].map(([replica, next]) => [replica, [...next]]))
    try {
      await writeJson(store, this.#key, { sinceMs: this.#sinceMs, replicas }, 'process')
      this.#isSaved = true
    } catch (error) {
      log.warn('how far lines were forwarded cannot be written down', { key: this.#key, cause: messageOf(error) })
    }
    this.#savedAtMs = clock.nowMs()
  }
}
