import type { Asker, Origin } from '../causes.ts'
import type { LogLine, LogQuery } from '../output.ts'
import type { JobUnit } from './job-unit.ts'
import type { RunRecord } from './run-record.ts'

/** A run under way, for whoever began it. */
export interface StartedRun {
  /** As it is now. */
  readonly record: () => RunRecord
  /** Resolves when it has ended, and all that it wrote was taken; or when this node has let go of it, and it goes on. */
  readonly done: Promise<void>
  /** What its instances write, each line once, behind those in `after`, until it is done and the last one was given. */
  lines(signal: AbortSignal, after?: readonly SeenLine[]): AsyncIterable<LogLine>
}

/** The last line that was seen of an instance. */
export type SeenLine = NonNullable<LogQuery['after']>[number]

/** Runs of units as jobs, as people see them. */
export interface Jobs {
  /**
   * Runs a unit once, with `args` behind its own.
   *
   * @throws HsuError `UNIT_NOT_FOUND`, `UNIT_NOT_MANAGED`, `ALREADY_RUNNING` when its terms forbid another run now
   */
  run(unit: string, args: readonly string[], asker: Asker): Promise<StartedRun>
  /**
   * A run that began before, for whoever lost sight of it.
   *
   * @throws HsuError `UNIT_NOT_FOUND`, `UNIT_NOT_MANAGED`, `RUN_NOT_FOUND` when it is not remembered
   */
  rejoin(unit: string, run: string): StartedRun
  /** Begins to end a run, in good order or by force. @throws HsuError `UNIT_NOT_FOUND`, `UNIT_NOT_MANAGED`, `RUN_NOT_FOUND` */
  stop(unit: string, run: string, force: boolean, asker: Asker): void
  /** The runs of a unit that are remembered, oldest first. @throws HsuError `UNIT_NOT_FOUND`, `UNIT_NOT_MANAGED` */
  runs(unit: string): readonly RunRecord[]
}

export interface JobDeskSeams {
  readonly unitOf: (unit: string) => JobUnit
  /** Writes down that somebody asked for something. */
  readonly request: (unit: string, operation: 'run' | 'stop', asker: Asker) => Origin
  /** Starts what a unit depends on and nobody wants yet. */
  readonly startNeeds: (unit: string, origin: Origin) => void
  readonly logs: (query: LogQuery, signal: AbortSignal) => AsyncIterable<LogLine>
}

/** A run that has not ended, or that is remembered. */
interface SeenRun {
  readonly record: RunRecord
  readonly done: Promise<void>
  owns(instance: string): boolean
}

export function createJobDesk({ unitOf, request, startNeeds, logs }: JobDeskSeams): Jobs {
  const started = (unit: string, run: SeenRun): StartedRun => ({
    record: () => run.record,
    done: run.done,
    lines: (signal, after = []) => linesOf(unit, run, { logs, after }, signal),
  })
  return {
    async run(unit, args, asker) {
      const job = unitOf(unit)
      const origin = request(unit, 'run', asker)
      startNeeds(unit, origin)
      return started(unit, await job.run({ cause: 'person', actor: asker.actor, args, origin }))
    },
    rejoin: (unit, run) => started(unit, unitOf(unit).find(run)),
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
  run: SeenRun,
  { logs, after: seen }: Pick<JobDeskSeams, 'logs'> & { readonly after: readonly SeenLine[] },
  signal: AbortSignal,
): AsyncGenerator<LogLine, void> {
  const given = new Map(seen.map(({ instance, seq }) => [instance, seq]))
  const isNew = ({ instance, replica, seq }: LogLine): boolean => {
    if (replica !== run.record.lane || !(run.owns(instance) || given.has(instance))) return false
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
    for await (const line of logs({ ...query, follow: true, after: seen }, ended.signal)) if (isNew(line)) yield line
    if (signal.aborted) return
    const after = [...given].map(([instance, seq]) => ({ instance, seq }))
    const rest = (inner: AbortSignal): AsyncIterable<LogLine> => logs({ ...query, follow: false, after }, inner)
    for await (const line of rest(signal)) if (isNew(line)) yield line
  } finally {
    signal.removeEventListener('abort', leave)
  }
}
