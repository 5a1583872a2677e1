import * as z from 'zod'
import type { Clock } from '../../base/clock.ts'
import type { Log } from '../../base/log.ts'
import { readJson, type Store, writeJson } from '../../base/store.ts'
import { EMPTY_MEMORY, type Memory } from './memory.ts'
import type { Tenure } from './tenure.ts'

const KEY = 'partition.json'

const tenure = z.object({ stand: z.enum(['out', 'idle', 'returning', 'holds', 'stopped']), term: z.number() })

const record = z.object({
  format: z.literal(1),
  nodes: z.array(
    z.object({
      nodeId: z.string(),
      name: z.string(),
      missingSinceWallMs: z.number().optional(),
      counts: z.boolean(),
    }),
  ),
  mates: z.record(z.string(), z.record(z.string(), tenure)),
  own: z.record(z.string(), tenure),
  overruled: z.array(z.string()),
})

/** What a node must still know after it was started anew in the middle of a partition. */
export interface Kept {
  readonly memory: Memory
  /** How it stood to its units. */
  readonly own: ReadonlyMap<string, Tenure>
  /** Units that a person wants to run although this is the smaller side. */
  readonly overruled: ReadonlySet<string>
}

/** A wall clock that went back makes what happened look recent, never in the future. */
export async function readKept(store: Store, clock: Clock, log: Log): Promise<Kept> {
  const found = await readJson(store, KEY, (raw) => record.parse(raw), log)
  if (found === undefined) return { memory: EMPTY_MEMORY, own: new Map(), overruled: new Set() }
  const nowMs = clock.nowMs()
  const nodes = found.nodes.map(({ missingSinceWallMs, ...node }) => {
    const agoMs = Math.max(0, clock.wallMs() - (missingSinceWallMs ?? clock.wallMs()))
    return [node.nodeId, { ...node, missingSinceMs: nowMs - agoMs }] as const
  })
  const mates = Object.entries(found.mates).map(([unit, saids]) => {
    const told = Object.entries(saids).map(([nodeId, said]) => [nodeId, { ...said, hasProcess: false }] as const)
    return [unit, new Map(told)] as const
  })
  return {
    memory: { nodes: new Map(nodes), mates: new Map(mates) },
    own: new Map(Object.entries(found.own)),
    overruled: new Set(found.overruled),
  }
}

/** Writes what is to be kept, one after the other, leaving out what is overtaken. */
export interface KeptWriter {
  write(kept: Kept): void
  flush(): Promise<void>
}

export function createKeptWriter(store: Store, clock: Clock, log: Log): KeptWriter {
  let last = ''
  let next: z.input<typeof record> | undefined
  let writing: Promise<void> | undefined

  async function writeAll(): Promise<void> {
    await Promise.resolve()
    for (let value = next; value !== undefined; value = next) {
      next = undefined
      await writeJson(store, KEY, value).catch((error: unknown) => {
        last = ''
        log.error('what is known of missing nodes cannot be saved', { error })
      })
    }
    writing = undefined
  }

  return {
    write(kept) {
      const value = toRecord(kept, clock)
      const text = JSON.stringify(value)
      if (text === last) return
      last = text
      next = value
      writing ??= writeAll()
    },
    async flush() {
      await writing
    },
  }
}

function toRecord({ memory, own, overruled }: Kept, clock: Clock): z.input<typeof record> {
  const offsetMs = clock.wallMs() - clock.nowMs()
  const plain = (tenures: ReadonlyMap<string, Tenure>): Record<string, Tenure> =>
    Object.fromEntries([...tenures].map(([key, { stand, term }]) => [key, { stand, term }]))
  return {
    format: 1,
    nodes: [...memory.nodes.values()].map(({ nodeId, name, missingSinceMs, counts }) => {
      // To the second, so that two clocks that drift apart are no news.
      const since = missingSinceMs === undefined ? undefined : Math.round((missingSinceMs + offsetMs) / 1_000) * 1_000
      return { nodeId, name, counts, ...(since === undefined ? {} : { missingSinceWallMs: since }) }
    }),
    mates: Object.fromEntries([...memory.mates].map(([unit, saids]) => [unit, plain(saids)])),
    own: plain(own),
    overruled: [...overruled].sort(),
  }
}
