import { withSignal } from '../base/abort.ts'
import type { TaskGroup } from '../base/task-group.ts'
import { untilLogged, type ReadLines } from './logs/line-watch.ts'
import type { InstanceStatus } from './status.ts'

export interface LoggedLinesSeams {
  readonly read: ReadLines
  readonly tasks: Pick<TaskGroup, 'run'>
  /** Wall clock, when the supervisor began: what started before was taken over. */
  readonly sinceMs: number
  /** Told when an instance of the unit has written a line that somebody asked for. */
  readonly onMatch: (unit: string) => void
}

interface Watch {
  readonly instance: string
  readonly line: string
  readonly life: AbortController
  hasMatched: boolean
}

/** The lines of units that others wait for. */
export class LoggedLines {
  readonly #seams: LoggedLinesSeams
  /** By unit; of most units nobody waits for a line. */
  readonly #watches = new Map<string, Set<Watch>>()

  constructor(seams: LoggedLinesSeams) {
    this.#seams = seams
  }

  /** How many lines of instances are looked for or were found. */
  get size(): number {
    return [...this.#watches.values()].reduce((sum, watches) => sum + watches.size, 0)
  }

  /** Whether any instance of the unit is looked at. */
  watches(unit: string): boolean {
    return this.#watches.has(unit)
  }

  /** Whether the instance has written a line that matches; looks from the first question on, past lines included. */
  has({ unit, instance, startedAtMs }: InstanceStatus, line: string): boolean {
    const watches = this.#watches.get(unit) ?? new Set()
    const known = [...watches].find((watch) => watch.instance === instance && watch.line === line)
    if (known !== undefined || startedAtMs === undefined) return known?.hasMatched ?? false
    const watch: Watch = { instance, line, life: new AbortController(), hasMatched: false }
    this.#watches.set(unit, watches.add(watch))
    this.#seams.tasks.run((signal) =>
      withSignal(signal, async (inner) => {
        inner.addEventListener('abort', () => watch.life.abort(), { once: true })
        try {
          watch.hasMatched = await this.#find(unit, watch, startedAtMs)
        } finally {
          // Whoever asks again looks again.
          if (!watch.hasMatched) this.#drop(unit, watch)
        }
        if (watch.hasMatched) this.#seams.onMatch(unit)
      }),
    )
    return false
  }

  #find(unit: string, { instance, line, life }: Watch, startedAtMs: number): Promise<boolean> {
    const { read, sinceMs } = this.#seams
    const wasReady = startedAtMs < sinceMs
    return untilLogged(read, { unit, instance, startedAtMs, wasReady }, new RegExp(line, 'u'), life.signal)
  }

  /** Looks no longer at what instances of the unit write, save these, nor for lines that nobody waits for any more. */
  retain(unit: string, { instances, lines }: { instances?: readonly string[]; lines?: ReadonlySet<string> }): void {
    for (const watch of this.#watches.get(unit) ?? []) {
      const isGone = instances?.includes(watch.instance) === false
      if (!isGone && lines?.has(watch.line) !== false) continue
      watch.life.abort()
      this.#drop(unit, watch)
    }
  }

  #drop(unit: string, watch: Watch): void {
    const watches = this.#watches.get(unit)
    watches?.delete(watch)
    if (watches?.size === 0) this.#watches.delete(unit)
  }
}
