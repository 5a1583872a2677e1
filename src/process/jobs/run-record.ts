import * as z from 'zod'
import type { Log } from '../../base/log.ts'
import { readJson, type Store, writeJson } from '../../base/store.ts'

const exit = z.union([z.object({ code: z.number() }), z.object({ signal: z.string() })])

const run = z.object({
  id: z.string(),
  /** The replica number that its instances have. */
  lane: z.number(),
  /** Who or what began it: `person` or `schedule`. */
  cause: z.enum(['person', 'schedule']),
  /** Who asked, in words; empty for a schedule. */
  actor: z.string(),
  /** The moment of the schedule that it is for. */
  tickMs: z.number().optional(),
  args: z.array(z.string()),
  startedAtMs: z.number(),
  endedAtMs: z.number().optional(),
  /** When it will be stopped as overdue. */
  deadlineMs: z.number().optional(),
  attempts: z.number(),
  /** The present or last instance; empty before the first. */
  instance: z.string(),
  state: z.enum(['running', 'completed', 'failed', 'stopped']),
  /** Why it is being ended by us. */
  ending: z.enum(['timeout', 'stopped', 'replaced', 'closed']).optional(),
  exit: exit.optional(),
  /** Why it ended as it did, in words; empty when the exit says it all. */
  reason: z.string(),
  /** Id of the event that it began. */
  eventId: z.string(),
})

const unitRuns = z.object({
  format: z.literal(1),
  unit: z.string(),
  /** The schedule that `handledMs` is about. */
  schedule: z.string(),
  /** Moments of the schedule up to this one are dealt with, by whatever node. */
  handledMs: z.number(),
  /** Oldest first. */
  runs: z.array(run),
})

/** One run of a unit, from its beginning to what became of it. */
export type RunRecord = Readonly<z.output<typeof run>>

/** What the next node must know of the runs of a unit. */
export type UnitRuns = Readonly<z.output<typeof unitRuns>>

const KEY = /^units\/([a-z0-9-]+)\/runs\.json$/

const keyOf = (unit: string): string => `units/${unit}/runs.json`

/** What earlier nodes wrote down. A damaged file is set aside and reported. */
export async function readRuns(store: Store, unit: string, log: Log): Promise<UnitRuns | undefined> {
  return readJson(store, keyOf(unit), (raw) => unitRuns.parse(raw), log)
}

/** Forgets the runs of units that `keep` does not name. */
export async function forgetRuns(store: Store, keep: (unit: string) => boolean): Promise<void> {
  for (const key of await store.list('units/')) {
    const unit = KEY.exec(key)?.[1]
    if (unit !== undefined && !keep(unit)) await store.delete(key)
  }
}

/** Writes the runs of one unit in order, leaving out versions that were overtaken while one was being written. */
export interface RunsWriter {
  /** Resolves when this version, or a later one, is on disk, or was reported as lost. */
  write(runs: UnitRuns): Promise<void>
  flush(): Promise<void>
  /** Writes nothing more and removes the file. */
  forget(): Promise<void>
}

export function createRunsWriter(store: Store, unit: string, log: Log): RunsWriter {
  let next: UnitRuns | undefined
  let writing: Promise<void> | undefined
  let forgotten = false

  async function writeAll(): Promise<void> {
    for (let runs = next; runs !== undefined && !forgotten; runs = next) {
      next = undefined
      await writeJson(store, keyOf(unit), runs).catch((error: unknown) =>
        log.error('the runs of a unit cannot be saved; the next node may not know them', { unit, error }),
      )
    }
    writing = undefined
  }

  return {
    write(runs) {
      next = runs
      return (writing ??= Promise.resolve().then(writeAll))
    },
    async flush() {
      await writing
    },
    async forget() {
      forgotten = true
      await writing
      await store.delete(keyOf(unit))
    },
  }
}
