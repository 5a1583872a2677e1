import { join } from 'node:path'
import type { Clock } from '../../base/clock.ts'
import type { Log } from '../../base/log.ts'
import type { TaskGroup } from '../../base/task-group.ts'
import type { NewEvent } from '../causes.ts'
import { createCompressor } from './compressor.ts'
import type { Block } from './record.ts'
import { LogStore, type StoreLimits } from './store.ts'

/** How often it is looked for lines that have become too old. */
const TIDY_MS = 10 * 60_000

/** Whose log it is, and how much of it is kept. */
interface Replica extends StoreLimits {
  readonly unit: string
  readonly replica: number
}

interface Lent {
  readonly store: LogStore
  readonly release: () => Promise<void>
}

/** The logs of all replicas: one store a replica, whoever writes to it. */
export interface LogStores {
  acquire(replica: Replica): Lent
}

export interface LogStoresSeams {
  readonly clock: Clock
  readonly log: Log
  readonly tasks: TaskGroup
  readonly onAppend: (unit: string, replica: number, blocks: readonly Block[]) => void
  readonly tell: (event: NewEvent) => void
}

export function createLogStores({ clock, log, tasks, onAppend, tell }: LogStoresSeams, logDir: string): LogStores {
  const stores = new Map<string, { readonly store: LogStore; users: number }>()
  /** Replicas whose lines may become too old, also when their units write no more. */
  const ageing = new Map<string, Replica>()
  let isTidying = false
  const compressor = createCompressor(log, tasks)

  function open({ unit, replica, maxBytes, keep, maxAgeMs, compress }: Replica): LogStore {
    const seams = {
      clock,
      log: log.with({ unit }),
      onAppend: (blocks: readonly Block[]) => onAppend(unit, replica, blocks),
      tell: (event: Pick<NewEvent, 'type' | 'reason' | 'details'>) => tell({ unit, instance: '', cause: '', ...event }),
      compressor,
    }
    const place = { directory: join(logDir, unit), replica }
    return new LogStore(seams, { ...place, maxBytes, keep, maxAgeMs, compress })
  }

  function lend(replica: Replica): Lent {
    const key = `${replica.unit}/${replica.replica}`
    const known = stores.get(key) ?? { store: open(replica), users: 0 }
    stores.set(key, known)
    known.users += 1
    known.store.limit(replica)
    return {
      store: known.store,
      async release() {
        known.users -= 1
        if (known.users > 0) return
        stores.delete(key)
        await known.store.close()
      },
    }
  }

  async function tidy(signal: AbortSignal): Promise<void> {
    while (ageing.size > 0) {
      for (const replica of [...ageing.values()]) {
        const { store, release } = lend(replica)
        await store.tidy().finally(release)
      }
      await clock.sleep(TIDY_MS, signal)
    }
    isTidying = false
  }

  return {
    acquire(replica) {
      const key = `${replica.unit}/${replica.replica}`
      if (replica.maxAgeMs === undefined) ageing.delete(key)
      else ageing.set(key, replica)
      if (!isTidying && ageing.size > 0) {
        isTidying = true
        tasks.run(tidy)
      }
      return lend(replica)
    },
  }
}
