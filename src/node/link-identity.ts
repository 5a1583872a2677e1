import * as z from 'zod'
import type { Log } from '../base/log.ts'
import { readJson, type Store, writeJson } from '../base/store.ts'
import { LINK_CERTIFICATE_MS, type LinkCertificate } from '../rpc/index.ts'

const KEY = 'link.json'

/** `madeAtMs` is left out by versions whose certificates carried the name of the node. */
const stored = z.strictObject({
  certPem: z.string(),
  keyPem: z.string(),
  fingerprint: z.string(),
  madeAtMs: z.number().optional(),
})

/** A certificate is renewed at the first start after this part of its time. */
const WORN = 2 / 3

export interface LinkIdentitySeams {
  readonly store: Store
  readonly log: Log
  /** Now, by the wall clock. */
  readonly wallMs: number
}

/**
 * The certificate by which other nodes know this one's links: made at the first start, kept in the store, and renewed at
 * a start when two thirds of its time are over. The record of each run names the certificate, so the others follow.
 *
 * @param mayRenew false for a process that takes the place of another: calls of its predecessor go on meanwhile
 */
export async function loadLinkCertificate(
  { store, log, wallMs }: LinkIdentitySeams,
  mayRenew: boolean,
  make: () => Promise<LinkCertificate>,
): Promise<LinkCertificate> {
  const kept = await readJson(store, KEY, (raw) => stored.parse(raw), log)
  if (kept !== undefined && !(mayRenew && isWorn(kept.madeAtMs, wallMs))) {
    const { certPem, keyPem, fingerprint } = kept
    return { certPem, keyPem, fingerprint }
  }
  const made = await make()
  await writeJson(store, KEY, { ...made, madeAtMs: wallMs })
  if (kept !== undefined)
    log.info('link certificate renewed', { before: kept.fingerprint, fingerprint: made.fingerprint })
  return made
}

function isWorn(madeAtMs: number | undefined, wallMs: number): boolean {
  return madeAtMs === undefined || wallMs - madeAtMs >= WORN * LINK_CERTIFICATE_MS
}
