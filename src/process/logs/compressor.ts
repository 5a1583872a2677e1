import { messageOf } from '../../base/error.ts'
import type { Log } from '../../base/log.ts'
import type { TaskGroup } from '../../base/task-group.ts'
import { compressRotated } from './retention.ts'

interface Place {
  readonly directory: string
  readonly replica: number
}

/** Compresses full log files, one after the other, so that it never takes more than one core. */
export interface Compressor {
  /** The log of this replica may have full files. Returns at once. */
  readonly wants: (place: Place) => void
}

/** What is not done when `tasks` stops is done when the log is next wanted. */
export function createCompressor(log: Log, tasks: TaskGroup): Compressor {
  const waiting = new Map<string, Place>()
  let running = false

  async function work(signal: AbortSignal): Promise<void> {
    for (let [first] = waiting; first !== undefined && !signal.aborted; [first] = waiting) {
      const [key, place] = first
      waiting.delete(key)
      await compressRotated(place, signal).catch((error: unknown) => {
        log.warn('log cannot be compressed', { directory: place.directory, cause: messageOf(error) })
      })
    }
    running = false
  }

  return {
    wants(place) {
      waiting.set(`${place.directory}/${place.replica}`, place)
      if (running) return
      running = true
      tasks.run(work)
    },
  }
}
