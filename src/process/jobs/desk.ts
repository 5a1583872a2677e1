import type { Asker, Origin } from '../causes.ts'
import type { LogLine, LogQuery } from '../output.ts'
import type { ActiveRun } from './active-run.ts'
import type { JobUnit } from './job-unit.ts'
import type { RunRecord } from './run-record.ts'

/** A run under way, for whoever began it. */
export interface StartedRun {
  /** As it is now. */
  readonly record: () => RunRecord
  /** Resolves when it has ended, and all that it wrote was taken. */
  readonly done: Promise<void>
  /** What its instances write, each line once, until the run has ended and the last one was given. */
  lines(signal: AbortSignal): AsyncIterable<LogLine>
}

/** Runs of units as jobs, as people see them. */
export interface Jobs {
  /**
   * Runs a unit once, with `args` behind its own.
   *
   * @throws HsuError `UNIT_NOT_FOUND`, `UNIT_NOT_MANAGED`, `ALREADY_RUNNING` when its terms forbid another run now
   */
  run(unit: string, args: readonly string[], asker: Asker): Promise<StartedRun>
  /** Begins to end a run, in good order or by force. @throws HsuError `UNIT_NOT_FOUND`, `UNIT_NOT_MANAGED`, `RUN_NOT_FOUND` */
  stop(unit: string, run: string, force: boolean, asker: Asker): void
  /** The runs of a unit that are remembered, oldest first. @throws HsuError `UNIT_NOT_FOUND`, `UNIT_NOT_MANAGED` */
  runs(unit: string): readonly RunRecord[]
}

export interface JobDeskSeams {
  readonly unitOf: (unit: string) => JobUnit
  /** Writes down that somebody asked for something. */
  readonly request: (unit: string, operation: 'run' | 'stop', asker: Asker) => Origin
  readonly logs: (query: LogQuery, signal: AbortSignal) => AsyncIterable<LogLine>
}

export function createJobDesk({ unitOf, request, logs }: JobDeskSeams): Jobs {
  return {
    async run(unit, args, asker) {
      const job = unitOf(unit)
      const origin = request(unit, 'run', asker)
      const active = await job.run({ cause: 'person', actor: asker.actor, args, origin })
      return {
        record: () => active.record,
        done: active.done,
        lines: (signal) => linesOf(unit, active, logs, signal),
      }
    },
    stop(unit, run, force, asker) {
      const job = unitOf(unit)
      request(unit, 'stop', asker)
      job.stopRun(run, force)
    },
    runs: (unit) => unitOf(unit).runs,
  }
}

/** The clock may be set while a run is under way; a line that seems older than the run is its own all the same. */
const CLOCK_SLACK_MS = 60_000

/** Follows the log while the run is under way; then reads once more what came too late to be followed. */
async function* linesOf(
  unit: string,
  run: ActiveRun,
  logs: JobDeskSeams['logs'],
  signal: AbortSignal,
): AsyncGenerator<LogLine, void> {
  const given = new Map<string, number>()
  const isNew = ({ instance, replica, seq }: LogLine): boolean => {
    if (replica !== run.record.lane || !run.owns(instance)) return false
    if (seq <= (given.get(instance) ?? -1)) return false
    given.set(instance, seq)
    return true
  }
  const sinceMs = run.record.startedAtMs - CLOCK_SLACK_MS
  const query = { units: [unit], tail: undefined, sinceMs, stream: undefined, grep: undefined }
  const ended = new AbortController()
  void run.done.then(() => ended.abort())
  const leave = (): void => ended.abort()
  signal.addEventListener('abort', leave, { once: true })
  try {
    for await (const line of logs({ ...query, follow: true }, ended.signal)) if (isNew(line)) yield line
    if (signal.aborted) return
    const after = [...given].map(([instance, seq]) => ({ instance, seq }))
    const rest = (inner: AbortSignal): AsyncIterable<LogLine> => logs({ ...query, follow: false, after }, inner)
    for await (const line of rest(signal)) if (isNew(line)) yield line
  } finally {
    signal.removeEventListener('abort', leave)
  }
}
