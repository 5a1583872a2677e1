import { HsuError } from '../../base/error.ts'

/** How far the life of a supervisor has come. */
export type Life = 'new' | 'running' | 'over' | 'abandoned'

/** Changes of the set of units, one at a time and only while the supervisor runs. */
export class Turns {
  life: Life = 'new'
  #last: Promise<unknown> = Promise.resolve()

  /** Makes a change when those asked for before have ended. @throws HsuError `NOT_STARTED` unless it runs then */
  take<T>(change: () => Promise<T>): Promise<T> {
    const taken = this.#last.then(() => {
      if (this.life === 'running') return change()
      throw new HsuError('NOT_STARTED', `the supervisor ${this.life === 'new' ? 'is not started yet' : 'is stopped'}`)
    })
    this.#last = taken.catch(() => undefined)
    return taken
  }

  /** Resolves when the changes asked for so far have ended, well or badly. */
  async settled(): Promise<void> {
    await this.#last
  }
}
