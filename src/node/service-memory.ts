import * as z from 'zod'
import { messageOf } from '../base/error.ts'
import { LastSeen } from '../base/last-seen.ts'
import type { Service } from '../base/lifecycle.ts'
import type { Log } from '../base/log.ts'
import { readJson, type Store, writeJson } from '../base/store.ts'

/** Units whose services are remembered; the one that told them first goes first. */
const MAX_UNITS = 1_000

const KEY = 'services.json'

const record = z.object({ format: z.literal(1), units: z.record(z.string(), z.array(z.string()).max(1_000)) })

/**
 * What units told of their services last, also before the node was started: so it is known whom a call is for while a unit
 * starts that has not been asked yet.
 */
export interface ServiceMemory extends Service {
  /** Undefined: it never told. */
  recall(unit: string): readonly string[] | undefined
  keep(unit: string, services: readonly string[]): void
}

export function createServiceMemory(store: Store, log: Log): ServiceMemory {
  const known = new LastSeen<readonly string[]>(MAX_UNITS)
  let writing: Promise<void> = Promise.resolve()
  let stale = false

  async function write(): Promise<void> {
    if (!stale) return
    stale = false
    await writeJson(store, KEY, { format: 1, units: Object.fromEntries(known.entries) }, 'process').catch(
      (error: unknown) => log.warn('the services of units are not remembered', { cause: messageOf(error) }),
    )
  }

  return {
    name: 'service memory',
    async start() {
      const found = await readJson(store, KEY, (raw) => record.parse(raw), log)
      for (const [unit, services] of Object.entries(found?.units ?? {})) known.note(unit, services)
    },
    stop: () => writing,
    recall: (unit) => known.get(unit),
    keep(unit, services) {
      if (JSON.stringify(known.get(unit)) === JSON.stringify(services)) return
      known.note(unit, services)
      stale = true
      writing = writing.then(write)
    },
  }
}
