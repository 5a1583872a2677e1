import * as z from 'zod'
import type { Log } from '../base/log.ts'
import { readJson, type Store, writeJson } from '../base/store.ts'
import type { LinkCertificate } from '../rpc/index.ts'

const KEY = 'link.json'

const stored = z.strictObject({ certPem: z.string(), keyPem: z.string(), fingerprint: z.string() })

/** The certificate by which other nodes know this one's links: made at the first start and kept in the store. */
export async function loadLinkCertificate(
  store: Store,
  log: Log,
  make: () => Promise<LinkCertificate>,
): Promise<LinkCertificate> {
  const kept = await readJson(store, KEY, (raw) => stored.parse(raw), log)
  if (kept !== undefined) return kept
  const made = await make()
  await writeJson(store, KEY, made)
  return made
}
