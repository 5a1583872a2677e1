import * as z from 'zod'
import type { Clock } from '../base/clock.ts'
import { messageOf } from '../base/error.ts'
import { every } from '../base/every.ts'
import type { Service } from '../base/lifecycle.ts'
import type { Log } from '../base/log.ts'
import type { Random } from '../base/random.ts'
import { readJson, type Store, writeJson } from '../base/store.ts'
import { createTaskGroup } from '../base/task-group.ts'
import { changingCertificate, type LinkCertificate, type ShownCertificate } from '../rpc/index.ts'

const KEY = 'link.json'

/** `madeAtMs` is left out by versions whose certificates carried the name of the node. */
const keptCertificate = z.strictObject({
  certPem: z.string(),
  keyPem: z.string(),
  fingerprint: z.string(),
  madeAtMs: z.number().optional(),
})

const stored = keptCertificate.extend({
  /** Made and announced, not shown yet. */
  next: keptCertificate.optional(),
  /** Shown before this one; counts until then. */
  before: z.strictObject({ fingerprint: z.string(), untilMs: z.number() }).optional(),
})

type Kept = z.output<typeof stored>

/** A certificate is renewed after this part of its time, and the one before it counts for the rest. */
const WORN = 2 / 3

/** How long the others have to hear of the next certificate before it is shown; of a short life a part. */
const ANNOUNCED_MS = 3_600_000
const ANNOUNCED_PART = 1 / 24

export interface LinkIdentitySeams {
  readonly clock: Clock
  readonly random: Random
  readonly store: Store
  readonly log: Log
  readonly make: (lifetimeMs: number) => Promise<LinkCertificate>
}

export interface LinkIdentityConfig {
  readonly lifetimeMs: number
  /** False for a process that takes the place of another: calls of its predecessor go on meanwhile. */
  readonly mayRenewAtStart: boolean
}

/**
 * The certificate by which other nodes know this one's links: made at the first start, kept in the store, and replaced in three
 * steps while the node runs. The next one is made and announced in the record of the node; then it is shown and the one before
 * still counts; then that is forgotten. So whoever knows one of the two records is at ease with both certificates.
 */
export interface LinkIdentity extends Service {
  readonly certificate: ShownCertificate
  /** Of the certificate that is shown, then of the others that count. */
  fingerprints(): readonly string[]
}

/** Loads or makes the certificate. One that is worn at a start is replaced at once: nobody has a link to this node then. */
export async function openLinkIdentity(
  seams: LinkIdentitySeams,
  { lifetimeMs, mayRenewAtStart }: LinkIdentityConfig,
): Promise<LinkIdentity> {
  const { clock, random, store, log, make } = seams
  const tasks = createTaskGroup((error) => log.error('link certificate is not renewed', { cause: messageOf(error) }))
  let kept = await load()
  const { certificate, show } = changingCertificate(kept)

  async function load(): Promise<Kept> {
    const found = await readJson(store, KEY, (raw) => stored.parse(raw), log)
    if (found !== undefined && !(mayRenewAtStart && isWorn(found, clock.wallMs(), lifetimeMs))) return found
    const made = await makeNew()
    await writeJson(store, KEY, made)
    if (found !== undefined) tellRenewed(found, made)
    return made
  }

  async function makeNew(): Promise<Kept> {
    return { ...(await make(lifetimeMs)), madeAtMs: clock.wallMs() }
  }

  function tellRenewed(before: Kept, after: Kept): void {
    log.info('link certificate renewed', { before: before.fingerprint, fingerprint: after.fingerprint })
  }

  async function put(next: Kept): Promise<void> {
    await writeJson(store, KEY, next)
    kept = next
  }

  async function step(): Promise<void> {
    const before = kept
    const { next, ...shown } = before
    switch (renewalStep(before, clock.wallMs(), lifetimeMs)) {
      case 'make':
        await put({ ...before, next: await makeNew() })
        break
      case 'show': {
        const untilMs = clock.wallMs() + (1 - WORN) * lifetimeMs
        await put({ ...(next ?? shown), before: { fingerprint: shown.fingerprint, untilMs } })
        tellRenewed(before, kept)
        show(kept)
        break
      }
      case 'forget':
        await put({ ...shown, before: undefined })
        break
      case undefined:
        break
    }
  }

  return {
    name: 'link certificate',
    certificate,
    fingerprints() {
      const others = [kept.next?.fingerprint, kept.before?.fingerprint].filter((print) => print !== undefined)
      return [kept.fingerprint, ...others]
    },
    async start() {
      const intervalMs = announcedMs(lifetimeMs)
      const onError = (error: unknown): void =>
        log.error('link certificate is not renewed, which is tried again', { cause: messageOf(error) })
      tasks.run((signal) => every(step, signal, { intervalMs, jitter: 0.1, clock, random, onError }))
    },
    stop: () => tasks.stop(),
  }
}

/** What is due of a certificate and its successor. Pure. */
export function renewalStep(kept: Kept, wallMs: number, lifetimeMs: number): 'make' | 'show' | 'forget' | undefined {
  const { next, before } = kept
  if (next !== undefined) return wallMs - (next.madeAtMs ?? 0) >= announcedMs(lifetimeMs) ? 'show' : undefined
  if (isWorn(kept, wallMs, lifetimeMs)) return 'make'
  return before !== undefined && wallMs >= before.untilMs ? 'forget' : undefined
}

function announcedMs(lifetimeMs: number): number {
  return Math.min(ANNOUNCED_MS, ANNOUNCED_PART * lifetimeMs)
}

function isWorn({ madeAtMs }: Kept, wallMs: number, lifetimeMs: number): boolean {
  return madeAtMs === undefined || wallMs - madeAtMs >= WORN * lifetimeMs
}
