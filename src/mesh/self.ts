import { HsuError, messageOf } from '../base/error.ts'
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import type { Store } from '../base/store.ts'
import type { Identity } from './identity.ts'
import { KeptIncarnation } from './kept-incarnation.ts'
import { MAX_COUNT, MAX_ENTRIES } from './limits.ts'
import type { NodeRecord, SignedRecord } from './member.ts'
import { type Member, type MemberStatus, refute } from './merge.ts'
import { parseRecord, signRecord } from './record.ts'

/** How many refutations may follow each other at once; then one a second. Two nodes of one identity outbid each other for ever. */
const REFUTE_BURST = 10
const REFUTE_REST_MS = 1_000

/** How many of its own former addresses a node remembers. */
const MAX_WRITTEN = 256

/** What may change of a record while the node runs. */
const CHANGING: readonly ((record: Omit<NodeRecord, 'nodeId' | keyof RecordNumbers>) => readonly string[])[] = [
  ({ meshAddresses }) => meshAddresses,
  ({ linkAddresses }) => linkAddresses,
  ({ linkFingerprint, furtherLinkFingerprints = [] }) => [linkFingerprint, ...furtherLinkFingerprints],
  ({ keyProofs = [] }) => keyProofs,
]

type RecordNumbers = Pick<NodeRecord, 'incarnation' | 'startedIncarnation' | 'recordVersion'>

/** What this node says of itself, as far as the caller supplies it. */
export interface SelfDescription {
  readonly name: string
  readonly version: string
  readonly labels: Readonly<Record<string, string>>
  /** Of the certificate that is shown, then of those that count as well. Asked again, like the addresses. */
  readonly linkFingerprints: () => readonly string[]
  /** Asked again every few seconds, so that a changed address becomes known. */
  readonly linkAddresses: () => readonly string[]
  readonly meshAddresses: () => readonly string[]
  /** What shows others that this node has its mesh keys. */
  readonly keyProofs: () => readonly string[]
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
  readonly #kept: KeptIncarnation
  readonly #written = new Set<string>()
  #signed: SignedRecord | undefined
  #incarnation = 0
  #startedIncarnation = 0
  #awayMs = 0
  #credit = REFUTE_BURST
  #creditAtMs = 0
  #refuting: Promise<void> = Promise.resolve()

  constructor(seams: SelfSeams, description: SelfDescription) {
    this.#seams = seams
    this.#description = description
    this.#kept = new KeptIncarnation(seams.store, seams.log)
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

  /**
   * Begins a run: one incarnation above all that this store ever saw, on disk before it is used.
   *
   * @throws HsuError LIMIT_EXCEEDED when others would refuse the record, for example for its labels.
   */
  async begin(): Promise<void> {
    const incarnation = Math.max(await this.#kept.load(), this.#incarnation) + 1
    await this.#kept.put(incarnation)
    this.#awayMs = 0
    this.#sign({ incarnation, startedIncarnation: incarnation, recordVersion: 1 })
    this.#startedIncarnation = incarnation
    this.#incarnation = incarnation
  }

  /** Signs a new version of the record if an address, a mesh key or a link certificate changed; whether one did. */
  refresh(): boolean {
    const described = this.#describe()
    const known = this.signed.record
    if (CHANGING.every((changing) => isSame(changing(described), changing(known)))) return false
    const { incarnation, startedIncarnation, recordVersion } = known
    this.#sign({ incarnation, startedIncarnation, recordVersion: recordVersion + 1 })
    return true
  }

  /** Signs a record which says that this run ends and the next one begins within `awayMs`. */
  goAway(awayMs: number): void {
    this.#awayMs = awayMs
    const { incarnation, startedIncarnation, recordVersion } = this.signed.record
    this.#sign({ incarnation, startedIncarnation, recordVersion: recordVersion + 1 })
  }

  /**
   * Outbids a rumour about this node of incarnation `rumoured`; `done` is called when the new record may be sent.
   * Rumours about earlier incarnations need no answer. One after the other, and limited in rate.
   */
  refute(rumoured: number, done: () => void): void {
    if (rumoured >= MAX_COUNT - 1) return
    const answer = async (): Promise<void> => {
      // What was asked for before this may have outbid the rumour already.
      const { incarnation } = refute(this.#member('alive', this.#incarnation), this.#member('suspect', rumoured))
      if (incarnation === this.#incarnation || !this.#spendCredit()) return
      await this.#kept.put(incarnation).catch((error: unknown) => {
        // Better a number that may repeat after a crash (the next run would outbid it) than to be taken for dead.
        this.#seams.log.error('incarnation cannot be stored', { incarnation, cause: messageOf(error) })
      })
      this.#sign({ incarnation, startedIncarnation: this.#startedIncarnation, recordVersion: 1 })
      this.#incarnation = incarnation
      done()
    }
    this.#refuting = this.#refuting.then(answer).catch((error: unknown) => {
      // The rumour comes again for as long as it is believed, and so does the answer.
      this.#seams.log.error('rumour about this node cannot be refuted', { rumoured, cause: messageOf(error) })
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

  #sign(numbers: RecordNumbers): void {
    const record: NodeRecord = { ...this.#describe(), nodeId: this.nodeId, ...numbers }
    const signed = signRecord(this.#seams.identity, record)
    checkAcceptable(signed)
    this.#signed = signed
    this.#written.add(whereabouts(record))
    if (this.#written.size > MAX_WRITTEN) this.#written.delete([...this.#written][0] as string)
  }

  #describe() {
    const { name, version, labels, linkAddresses, meshAddresses } = this.#description
    const [linkFingerprint = '', ...furtherLinkFingerprints] = this.#description.linkFingerprints()
    const keyProofs = this.#description.keyProofs()
    return {
      name,
      version,
      labels,
      linkFingerprint,
      ...(furtherLinkFingerprints.length > 0 && { furtherLinkFingerprints }),
      // A host may have more (container bridges); the best come first.
      linkAddresses: linkAddresses().slice(0, MAX_ENTRIES),
      meshAddresses: meshAddresses().slice(0, MAX_ENTRIES),
      signsSections: true,
      takesDeltas: true,
      ...(this.#awayMs > 0 && { awayMs: this.#awayMs }),
      ...(keyProofs.length > 0 && { keyProofs }),
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

/** What others would refuse must not leave this node: they would never let it join, and it would not learn why. */
function checkAcceptable(signed: SignedRecord): void {
  try {
    parseRecord(signed)
  } catch (cause) {
    throw new HsuError('LIMIT_EXCEEDED', `node record cannot be sent: ${messageOf(cause)}`, { cause })
  }
}

function whereabouts({ linkFingerprint, linkAddresses, meshAddresses }: NodeRecord): string {
  return JSON.stringify([linkFingerprint, [...linkAddresses].sort(), [...meshAddresses].sort()])
}

function isSame(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((text, index) => text === other[index])
}
