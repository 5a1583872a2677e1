import { untilLogged, type ReadLines } from './logs/line-watch.ts'
import type { InstanceStatus } from './status.ts'
import type { TaskGroup } from '../base/task-group.ts'

export interface LoggedLinesSeams {
  readonly read: ReadLines
  readonly tasks: Pick<TaskGroup, 'run' | 'signal'>
  /** Wall clock, when the supervisor began: what started before was taken over. */
  readonly sinceMs: number
  /** Told when an instance of the unit has written a line that somebody asked for. */
  readonly onMatch: (unit: string) => void
}

interface Watch {
  readonly unit: string
  readonly instance: string
  readonly life: AbortController
  hasMatched: boolean
}

/** The lines of units that others wait for. */
export class LoggedLines {
  readonly #seams: LoggedLinesSeams
  readonly #watches = new Map<string, Watch>()

  constructor(seams: LoggedLinesSeams) {
    this.#seams = seams
  }

  /** Whether the instance has written a line that matches; looks from the first question on, past lines included. */
  has({ unit, instance, startedAtMs }: InstanceStatus, line: string): boolean {
    const key = `${instance} ${line}`
    const known = this.#watches.get(key)
    if (known !== undefined || startedAtMs === undefined) return known?.hasMatched ?? false
    const watch: Watch = { unit, instance, life: new AbortController(), hasMatched: false }
    this.#watches.set(key, watch)
    this.#seams.tasks.run(async () => {
      try {
        watch.hasMatched = await this.#find(watch, startedAtMs, line)
      } catch (error) {
        this.#watches.delete(key)
        throw error
      }
      if (watch.hasMatched) this.#seams.onMatch(unit)
    })
    return false
  }

  #find({ unit, instance, life }: Watch, startedAtMs: number, line: string): Promise<boolean> {
    const { read, tasks, sinceMs } = this.#seams
    const wasReady = startedAtMs < sinceMs
    const signal = AbortSignal.any([life.signal, tasks.signal])
    return untilLogged(read, { unit, instance, startedAtMs, wasReady }, new RegExp(line, 'u'), signal)
  }

  /** Looks no longer at what instances of the unit write, save those that run. */
  retain(unit: string, running: readonly string[]): void {
    for (const [key, watch] of this.#watches) {
      if (watch.unit !== unit || running.includes(watch.instance)) continue
      watch.life.abort()
      this.#watches.delete(key)
    }
  }
}
