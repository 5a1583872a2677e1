import { createHash } from 'node:crypto'
import type { Clock } from '../../base/clock.ts'
import { HsuError, messageOf } from '../../base/error.ts'
import type { Log } from '../../base/log.ts'
import { readJson, type Store, writeJson } from '../../base/store.ts'
import type { Identity } from '../identity.ts'
import { MAX_RULINGS } from '../limits.ts'
import type { Unverified } from '../member.ts'
import {
  compareRulings,
  isGenuineRuling,
  type KeyRuling,
  MAX_NUMBER,
  type NodeRuling,
  parseRuling,
  type Ruling,
  type SignedRuling,
  signRuling,
  subjectOf,
} from './ruling.ts'

export interface RulingSeams {
  readonly clock: Clock
  readonly log: Log
  readonly store: Store
  readonly identity: Identity
}

/** What a ruling says, before somebody signs it. */
export type Verdict =
  | Pick<NodeRuling, 'kind' | 'nodeId' | 'removed' | 'name'>
  | Pick<KeyRuling, 'kind' | 'fingerprint' | 'overlapMs' | 'holders'>

/** Where the rulings are kept. */
const KEY = 'mesh/rulings.json'

/**
 * What members decided for the whole mesh, as far as this node knows: one ruling a subject, kept over restarts. Taking a
 * ruling is "newer wins" in any order, any number of times, so all nodes come to the same rulings.
 */
export class Rulings {
  readonly #seams: RulingSeams
  readonly #rulings = new Map<string, SignedRuling>()
  #revision = 0
  #saving: Promise<void> = Promise.resolve()

  constructor(seams: RulingSeams) {
    this.#seams = seams
  }

  /** Grows with each change. */
  get revision(): number {
    return this.#revision
  }

  /** Reads what is kept; what was damaged or forged on the disk is reported and left out. */
  async load(): Promise<void> {
    const { store, log } = this.#seams
    for (const kept of (await readJson(store, KEY, parseKept, log)) ?? []) {
      const signed = readKept(kept)
      if (signed !== undefined) this.#put(signed)
      else log.error('a stored ruling is damaged and does not count', { key: KEY })
    }
  }

  /** All of them, in no particular order. */
  all(): readonly SignedRuling[] {
    return [...this.#rulings.values()]
  }

  /** Equal on two nodes exactly when they know the same rulings; empty when there is none. */
  hash(): Uint8Array {
    if (this.#rulings.size === 0) return new Uint8Array()
    const lines = this.all().map(({ signature }) => Buffer.from(signature).toString('hex'))
    return createHash('sha256').update(lines.sort().join('\n')).digest().subarray(0, 16)
  }

  /** Those that keep a node out. */
  removals(): readonly NodeRuling[] {
    return this.all().flatMap(({ ruling }) => (ruling.kind === 'node' && ruling.removed ? [ruling] : []))
  }

  isRemoved(nodeId: string): boolean {
    const ruling = this.#rulings.get(nodeId)?.ruling
    return ruling?.kind === 'node' && ruling.removed
  }

  /** The one on the mesh key. */
  get key(): KeyRuling | undefined {
    const ruling = this.#rulings.get('key')?.ruling
    return ruling?.kind === 'key' ? ruling : undefined
  }

  /**
   * Takes a ruling that somebody passed on, when it counts more than what is known; undefined when it does not.
   *
   * @throws HsuError USAGE when it is malformed or forged, LIMIT_EXCEEDED when there are too many.
   */
  take(unverified: Unverified): SignedRuling | undefined {
    const signed = parseRuling(unverified)
    const known = this.#rulings.get(subjectOf(signed.ruling))
    if (known !== undefined && compareRulings(signed, known) <= 0) return undefined
    if (!isGenuineRuling(signed)) throw new HsuError('USAGE', 'ruling is not signed by its issuer')
    if (known === undefined) this.#checkRoom(MAX_RULINGS * 2)
    this.#put(signed)
    void this.#save().catch((error: unknown) => {
      // It holds until this node ends, and the others tell it again.
      this.#seams.log.error('rulings cannot be stored', { cause: messageOf(error) })
    })
    return signed
  }

  /**
   * Rules in the name of this node. It holds here from now on; `saved` resolves when it is on the disk, which is to be
   * waited for before anybody hears of it.
   *
   * @throws HsuError LIMIT_EXCEEDED when there are too many rulings.
   */
  issue(verdict: Verdict, actor: string): { readonly signed: SignedRuling; readonly saved: Promise<void> } {
    const { clock, identity } = this.#seams
    const subject = verdict.kind === 'node' ? verdict.nodeId : 'key'
    const known = this.#rulings.get(subject)
    if (known === undefined) this.#checkRoom(MAX_RULINGS)
    const number = (known?.ruling.number ?? 0) + 1
    if (number > MAX_NUMBER) throw new HsuError('LIMIT_EXCEEDED', `there are ${MAX_NUMBER} rulings on ${subject}`)
    const ruling: Ruling = { ...verdict, issuer: identity.nodeId, number, issuedMs: clock.wallMs(), actor }
    const signed = signRuling(identity, ruling)
    this.#put(signed)
    return { signed, saved: this.#save() }
  }

  /** Resolves when all that was taken so far is on the disk, or could not be written. Never rejects. */
  saved(): Promise<void> {
    return this.#saving
  }

  #checkRoom(max: number): void {
    if (this.#rulings.size < max) return
    throw new HsuError('LIMIT_EXCEEDED', `there are ${max} rulings, and there is no room for more`)
  }

  #put(signed: SignedRuling): void {
    this.#rulings.set(subjectOf(signed.ruling), signed)
    this.#revision += 1
  }

  #save(): Promise<void> {
    const { store } = this.#seams
    const save = async (): Promise<void> => {
      const rulings = this.all().map(({ bytes, signature }) => ({
        ruling: base64(bytes),
        signature: base64(signature),
      }))
      await writeJson(store, KEY, { rulings })
    }
    const saved = this.#saving.then(save)
    this.#saving = saved.catch(() => undefined)
    return saved
  }
}

interface Kept {
  readonly ruling: string
  readonly signature: string
}

function parseKept(raw: unknown): readonly Kept[] {
  const { rulings } = (raw ?? {}) as { rulings?: unknown }
  if (!Array.isArray(rulings)) throw new HsuError('STORE_CORRUPT', `${KEY} has no list of rulings`)
  return rulings.slice(0, MAX_RULINGS * 2) as Kept[]
}

function readKept(kept: Kept): SignedRuling | undefined {
  try {
    const { ruling, signature } = kept
    const signed = parseRuling({ bytes: Buffer.from(ruling, 'base64'), signature: Buffer.from(signature, 'base64') })
    return isGenuineRuling(signed) ? signed : undefined
  } catch {
    return undefined
  }
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64')
}
