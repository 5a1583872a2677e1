import * as z from 'zod'
import type { Log } from '../base/log.ts'
import { readJson, type Store, writeJson } from '../base/store.ts'
import type { ProcessIdentity } from './identity.ts'

const pin = z.object({
  format: z.literal(1),
  identity: z.object({ pid: z.number(), startTime: z.string(), bootId: z.string() }),
})

const keyOf = (unit: string): string => `pins/${unit}.json`

/**
 * The process that a unit described by a bare pid was found as, by this node or an earlier one. The system gives pids
 * to strangers later; without this, a node that starts anew would take such a stranger for the unit.
 */
export async function readPin(store: Store, unit: string, pid: number, log: Log): Promise<ProcessIdentity | undefined> {
  const found = await readJson(store, keyOf(unit), (raw) => pin.parse(raw), log)
  return found?.identity.pid === pid ? found.identity : undefined
}

export function writePin(store: Store, unit: string, identity: ProcessIdentity): Promise<void> {
  return writeJson(store, keyOf(unit), { format: 1, identity })
}

export function deletePin(store: Store, unit: string): Promise<void> {
  return store.delete(keyOf(unit))
}
