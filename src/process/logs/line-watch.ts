import type { TaskGroup } from '../../base/task-group.ts'
import type { LogLine, LogQuery } from './query.ts'

/** Reads the output of units, as `Output.query` does. */
export type ReadLines = (query: LogQuery, signal: AbortSignal) => AsyncIterable<LogLine>

/** The instance whose output is looked at. */
interface LoggedInstance {
  readonly unit: string
  readonly instance: string
  /** Wall clock; what was read before cannot be its output. */
  readonly startedAtMs: number
  /** It was ready before this node took it over: lines that rotation has deleted since are taken to have matched. */
  readonly wasReady: boolean
}

/** A wall clock that was set back a little must not hide a line. */
const SLACK_MS = 60_000

/**
 * Waits until a line of the instance matches, past lines included, so that it works for an adopted instance too.
 * Resolves to false when `signal` aborts before that.
 */
export async function untilLogged(
  read: ReadLines,
  { unit, instance, startedAtMs, wasReady }: LoggedInstance,
  pattern: RegExp,
  signal: AbortSignal,
): Promise<boolean> {
  const sinceMs = startedAtMs - SLACK_MS
  const all = { units: [unit], follow: true, tail: undefined, sinceMs, stream: undefined, grep: undefined }
  let isFirst = true
  for await (const line of read(all, signal)) {
    if (line.instance !== instance) continue
    if (isFirst && wasReady && line.seq > 0) return true
    isFirst = false
    if (pattern.test(Buffer.from(line.line).toString('utf8'))) return true
  }
  return false
}

export interface LineWatchSeams {
  readonly read: ReadLines
  readonly tasks: Pick<TaskGroup, 'run'>
}

/** Tells of any pattern whether the instance has written a line that matches; looks from the first question on, until `life` aborts. */
export function createLineWatch(
  { read, tasks }: LineWatchSeams,
  instance: LoggedInstance,
  life: AbortSignal,
): (pattern: RegExp) => boolean {
  const matched = new Map<string, boolean>()
  return ({ source, flags }) => {
    const known = matched.get(source)
    if (known !== undefined) return known
    matched.set(source, false)
    tasks.run(async () => {
      if (await untilLogged(read, instance, new RegExp(source, flags), life)) matched.set(source, true)
    })
    return false
  }
}
