import { HsuError, messageOf } from '../base/error.ts'
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import { readJson, type Store, writeJson } from '../base/store.ts'
import type { Identity } from './identity.ts'
import { MAX_COUNT } from './limits.ts'
import type { NodeRecord, SignedRecord } from './member.ts'
import { type Member, type MemberStatus, refute } from './merge.ts'
import { signRecord } from './record.ts'

/** Where the incarnation is kept. */
const KEY = 'mesh/self.json'

/** How many refutations may follow each other at once; then one a second. Two nodes of one identity outbid each other for ever. */
const REFUTE_BURST = 10
const REFUTE_REST_MS = 1_000

/** How many of its own former addresses a node remembers. */
const MAX_WRITTEN = 256

/** What this node says of itself, as far as the caller supplies it. */
export interface SelfDescription {
  readonly name: string
  readonly version: string
  readonly labels: Readonly<Record<string, string>>
  readonly linkFingerprint: string
  /** Asked again every few seconds, so that a changed address becomes known. */
  readonly linkAddresses: () => readonly string[]
  readonly meshAddresses: () => readonly string[]
}

/** What a node needs to write and keep its record. */
export interface SelfSeams {
  readonly clock: Clock
  readonly log: Log
  readonly store: Store
  readonly identity: Identity
}

/** This node's own record, its incarnation, and the only place where either changes. */
export class Self {
  readonly #seams: SelfSeams
  readonly #description: SelfDescription
  readonly #written = new Set<string>()
  #signed: SignedRecord | undefined
  #incarnation = 0
  #startedIncarnation = 0
  #credit = REFUTE_BURST
  #creditAtMs = 0
  #refuting: Promise<void> = Promise.resolve()

  constructor(seams: SelfSeams, description: SelfDescription) {
    this.#seams = seams
    this.#description = description
  }

  get nodeId(): string {
    return this.#seams.identity.nodeId
  }

  get incarnation(): number {
    return this.#incarnation
  }

  /** The incarnation with which this run began; 0 before it did. */
  get startedIncarnation(): number {
    return this.#startedIncarnation
  }

  /** The current record. @throws HsuError NOT_STARTED before `begin` */
  get signed(): SignedRecord {
    if (this.#signed === undefined) throw new HsuError('NOT_STARTED', 'this node is not in the mesh yet')
    return this.#signed
  }

  /** Begins a run: one incarnation above all that this store ever saw, on disk before it is used. */
  async begin(): Promise<void> {
    const { store, log } = this.#seams
    const kept = await readJson(store, KEY, parseIncarnation, log)
    const incarnation = Math.max(kept ?? 0, this.#incarnation) + 1
    await writeJson(store, KEY, { incarnation })
    this.#startedIncarnation = incarnation
    this.#become(incarnation)
  }

  /** Signs a new version of the record if an address changed; whether one did. */
  refresh(): boolean {
    const { meshAddresses, linkAddresses } = this.#describe()
    const known = this.signed.record
    if (isSame(meshAddresses, known.meshAddresses) && isSame(linkAddresses, known.linkAddresses)) return false
    this.#sign(known.recordVersion + 1)
    return true
  }

  /**
   * Outbids a rumour about this node of incarnation `rumoured`; `done` is called when the new record may be sent.
   * Rumours about earlier incarnations need no answer. One after the other, and limited in rate.
   */
  refute(rumoured: number, done: () => void): void {
    if (rumoured >= MAX_COUNT - 1) return
    this.#refuting = this.#refuting.then(async () => {
      // What was asked for before this may have outbid the rumour already.
      const { incarnation } = refute(this.#member('alive', this.#incarnation), this.#member('suspect', rumoured))
      if (incarnation === this.#incarnation || !this.#spendCredit()) return
      await writeJson(this.#seams.store, KEY, { incarnation }).catch((error: unknown) => {
        // Better a number that may repeat after a crash (the next run would outbid it) than to be taken for dead.
        this.#seams.log.error('incarnation cannot be stored', { incarnation, cause: messageOf(error) })
      })
      this.#become(incarnation)
      done()
    })
  }

  /** Resolves when all refutations asked for so far have been made. Never rejects. */
  refuted(): Promise<void> {
    return this.#refuting
  }

  /** Whether this run of the node ever wrote a record with these addresses and this fingerprint. */
  hasWritten(record: NodeRecord): boolean {
    return this.#written.has(whereabouts(record))
  }

  #member(status: MemberStatus, incarnation: number): Member {
    return { nodeId: this.nodeId, status, incarnation }
  }

  #become(incarnation: number): void {
    this.#incarnation = incarnation
    this.#sign(1)
  }

  #sign(recordVersion: number): void {
    const record: NodeRecord = {
      ...this.#describe(),
      nodeId: this.nodeId,
      incarnation: this.#incarnation,
      startedIncarnation: this.#startedIncarnation,
      recordVersion,
    }
    this.#signed = signRecord(this.#seams.identity, record)
    this.#written.add(whereabouts(record))
    if (this.#written.size > MAX_WRITTEN) this.#written.delete([...this.#written][0] as string)
  }

  #describe() {
    const { name, version, labels, linkFingerprint, linkAddresses, meshAddresses } = this.#description
    return {
      name,
      version,
      labels,
      linkFingerprint,
      linkAddresses: [...linkAddresses()],
      meshAddresses: [...meshAddresses()],
    }
  }

  #spendCredit(): boolean {
    const nowMs = this.#seams.clock.nowMs()
    const earned = Math.floor((nowMs - this.#creditAtMs) / REFUTE_REST_MS)
    if (earned > 0) {
      this.#credit = Math.min(REFUTE_BURST, this.#credit + earned)
      this.#creditAtMs = nowMs
    }
    if (this.#credit === 0) return false
    this.#credit -= 1
    return true
  }
}

function parseIncarnation(raw: unknown): number {
  const { incarnation } = (raw ?? {}) as { incarnation?: unknown }
  if (typeof incarnation !== 'number' || !Number.isSafeInteger(incarnation) || incarnation < 0) {
    throw new HsuError('STORE_CORRUPT', 'mesh/self.json has no incarnation')
  }
  return incarnation
}

function whereabouts({ linkFingerprint, linkAddresses, meshAddresses }: NodeRecord): string {
  return JSON.stringify([linkFingerprint, [...linkAddresses].sort(), [...meshAddresses].sort()])
}

function isSame(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((text, index) => text === other[index])
}
