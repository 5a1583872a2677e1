import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import { createTaskGroup } from '../base/task-group.ts'
import type { NewEvent } from './causes.ts'
import { type Capture, type CaptureSource, startCapture } from './logs/capture.ts'
import type { LossSeams } from './logs/loss.ts'
import type { ParseMode } from './logs/parse.ts'
import type { LogCursor, LogLine, LogQuery } from './logs/query.ts'
import { runQuery, runQueryInBatches } from './logs/run-query.ts'
import { createLogStores } from './logs/stores.ts'
import type { RunCommand } from './run-command.ts'

export type { Capture, CaptureSource, LogCursor, LogLine, LogQuery }

/**
 * The output of all units: from the raw files that the units write to the logs that people read.
 *
 * A unit appends to `stdout` and `stderr` of its instance by itself, so it neither waits for a reader nor dies
 * with the node. A capture tails the two, splits them into lines and stores these in
 * `<logDir>/<unit>/<replica>.<number>.log`, rotated and bounded (logs/store.ts); the records there say how far the raw
 * files are consumed, so after a kill -9 the next node goes on without losing or repeating a line. The disk
 * under the consumed part of a raw file is given back as it is consumed (logs/hole-punch.ts).
 */
export interface Output {
  /** Begins to take the output of an instance, or goes on with it. */
  capture(source: CaptureSource): Capture
  /**
   * The lines that match, merged by time over units and replicas. Ends when all are given or, with `follow`, when
   * `signal` aborts. Lines wait on the disk for a slow reader; it loses only what rotation deletes before it comes to it.
   */
  query(query: LogQuery, signal: AbortSignal): AsyncGenerator<LogLine, void, undefined>
  /** The same, as they come from the disk: at most 500 lines or 256 KiB and one line at once, sometimes none. */
  batches(query: LogQuery, signal: AbortSignal): AsyncGenerator<readonly LogLine[], void, undefined>
  /** Ends all captures where they are, without finishing them. */
  close(): Promise<void>
}

export interface OutputConfig {
  readonly logDir: string
  /** How the lines of a unit are understood. */
  readonly parseOf?: (unit: string) => ParseMode
}

export interface OutputSeams {
  readonly clock: Clock
  readonly log: Log
  readonly run: RunCommand
  /** Writes an event down. Default: nobody is told. */
  readonly tell?: (event: NewEvent) => void
}

export function createOutput(seams: OutputSeams, { logDir, parseOf = () => 'auto' }: OutputConfig): Output {
  const { tell = () => undefined } = seams
  const captures = new Set<Capture>()
  const followers = new Set<(unit: string, replica: number) => void>()
  const tasks = createTaskGroup((error) => seams.log.error('keeping logs met a fault', { error }))
  const onAppend = (unit: string, replica: number): void => {
    for (const notify of followers) notify(unit, replica)
  }
  const stores = createLogStores({ ...seams, tell, tasks, onAppend }, logDir)

  function capture(source: CaptureSource): Capture {
    const { store, release } = stores.acquire(source)
    const { unit, instance } = source
    const tellOfIt: LossSeams['tell'] = (event) => tell({ unit, instance, cause: '', ...event })
    const running = startCapture({ ...seams, store, tell: tellOfIt }, source)
    let released: Promise<void> | undefined
    const letGo = (): Promise<void> => {
      released ??= release().finally(() => captures.delete(handle))
      return released
    }
    const handle: Capture = {
      async finish() {
        const isRead = await running.finish()
        await letGo()
        return isRead
      },
      async close() {
        await running.close()
        await letGo()
      },
    }
    captures.add(handle)
    return handle
  }

  return {
    capture,
    query: (query, signal) => runQuery({ logDir, followers, parseOf }, query, signal),
    batches: (query, signal) => runQueryInBatches({ logDir, followers, parseOf }, query, signal),
    async close() {
      await tasks.stop()
      await Promise.all([...captures].map((each) => each.close()))
    },
  }
}
