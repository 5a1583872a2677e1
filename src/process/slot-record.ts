import * as z from 'zod'
import type { Log } from '../base/log.ts'
import { type Outlives, readJson, type Store, writeJson } from '../base/store.ts'

const identity = z.object({ pid: z.number(), startTime: z.string(), bootId: z.string() })

const exit = z.union([z.object({ code: z.number() }), z.object({ signal: z.string() })])

const slotRecord = z.object({
  format: z.literal(1),
  unit: z.string(),
  replica: z.number(),
  kind: z.enum(['managed', 'integrated']),
  phase: z.enum(['down', 'starting', 'up', 'stopping', 'backoff', 'failed', 'completed']),
  want: z.enum(['up', 'down']),
  /** The node ended in good order and stopped the instance: nothing is left to be taken over. */
  closed: z.boolean(),
  bootId: z.string(),
  generation: z.number(),
  restarts: z.number(),
  streak: z.number(),
  crashesAtWallMs: z.array(z.number()),
  gaveUp: z.boolean(),
  waitMs: z.number().optional(),
  untilWallMs: z.number().optional(),
  held: z.boolean().optional(),
  asleep: z.boolean().optional(),
  fault: z.string(),
  exit: exit.optional(),
  reason: z.string(),
  instance: z.string(),
  leader: identity.optional(),
  main: identity.optional(),
  ports: z.record(z.string(), z.number()),
  startedAtMs: z.number().optional(),
  args: z.array(z.string()).optional(),
  eventId: z.string().optional(),
  launchHash: z.string(),
  stop: z.object({ signal: z.string(), graceMs: z.number() }),
})

/** What the next node must know of a slot to take over its instance. Written on each change of it. */
export type SlotRecord = Readonly<z.output<typeof slotRecord>>

const PREFIX = 'units/'
const KEY = /^units\/[a-z0-9-]+\/\d+\.json$/

function slotKey(unit: string, replica: number): string {
  return `${PREFIX}${unit}/${replica}.json`
}

/** All slots that earlier nodes wrote down. A damaged record is set aside and reported. */
export async function readSlotRecords(store: Store, log: Log): Promise<SlotRecord[]> {
  const keys = (await store.list(PREFIX)).filter((key) => KEY.test(key))
  const records = await Promise.all(keys.map((key) => readJson(store, key, (raw) => slotRecord.parse(raw), log)))
  return records.filter((record) => record !== undefined)
}

function writeSlotRecord(store: Store, record: SlotRecord, outlives: Outlives): Promise<void> {
  return writeJson(store, slotKey(record.unit, record.replica), record, outlives)
}

export function deleteSlotRecord(store: Store, unit: string, replica: number): Promise<void> {
  return store.delete(slotKey(unit, replica))
}

const scale = z.object({ configured: z.number(), replicas: z.number() })

const scaleKey = (unit: string): string => `${PREFIX}${unit}/scale.json`

/** How many replicas a person asked for; undefined when nobody did since the configuration last changed the number. */
export async function readScale(store: Store, unit: string, configured: number, log: Log): Promise<number | undefined> {
  const found = await readJson(store, scaleKey(unit), (raw) => scale.parse(raw), log)
  return found?.configured === configured ? found.replicas : undefined
}

export function writeScale(store: Store, unit: string, configured: number, replicas: number): Promise<void> {
  return writeJson(store, scaleKey(unit), { configured, replicas })
}

export function deleteScale(store: Store, unit: string): Promise<void> {
  return store.delete(scaleKey(unit))
}

/** Writes the records of one slot in order, leaving out those overtaken while one was being written. */
export interface SlotWriter {
  /** What an earlier node wrote down. */
  goOnFrom(record: SlotRecord): void
  write(record: SlotRecord): void
  /** Resolves when everything is on disk, or was reported as lost. */
  flush(): Promise<void>
}

/**
 * After a loss of power all processes are gone; of the records it matters only who was stopped by a person. So that is
 * what is waited for until the disk has it, from its beginning to its end; a start after a crash does not wait.
 */
export function createSlotWriter(store: Store, log: Log): SlotWriter {
  let heldDown = false
  let next: SlotRecord | undefined
  let last = ''
  let writing: Promise<void> | undefined

  async function writeAll(): Promise<void> {
    // What changes several times in one turn is written once.
    await Promise.resolve()
    for (let record = next; record !== undefined; record = next) {
      next = undefined
      const wasHeldDown = heldDown
      heldDown = record.want === 'down'
      await writeSlotRecord(store, record, heldDown || wasHeldDown ? 'power' : 'process').catch((error: unknown) => {
        last = ''
        heldDown ||= wasHeldDown
        log.error('state of a unit cannot be saved; the next node may not find its process', { error })
      })
    }
    writing = undefined
  }

  return {
    goOnFrom(record) {
      heldDown = record.want === 'down'
    },
    write(record) {
      const text = JSON.stringify(record)
      if (text === last) return
      last = text
      next = record
      writing ??= writeAll()
    },
    async flush() {
      await writing
    },
  }
}
