import { HsuError, messageOf } from '../../base/error.ts'
import { registrationFromBytes, registrationToBytes } from '../gossip/items.ts'
import { MAX_COUNT, MAX_REGISTRATIONS, MAX_SECTION_BYTES } from '../limits.ts'
import type { Registration, Section, SectionDelta } from '../member.ts'
import { joinSection } from '../gossip/section-bytes.ts'
import { arrange, editsBetween } from './section-delta.ts'
import { keyOf, textOf } from './section.ts'

/** Signs the bytes of a section for its owner. */
export type SignBytes = (bytes: Uint8Array) => Uint8Array

/** What others are told of a change: what changed, or the whole section. */
export type SectionNews = { readonly section: Section } | { readonly delta: SectionDelta }

/** One registration of this node, kept in all the forms that are needed again and again. */
interface Row {
  readonly key: string
  readonly text: string
  readonly registration: Registration
  readonly bytes: Uint8Array
}

interface Edition {
  readonly version: number
  readonly rows: readonly Row[]
}

/** A delta that is larger than this part of the section is not worth its while. */
const WORTHWHILE = 0.5

/** The section of this node: what it registers, and what of it the others were told. */
export class OwnSection {
  readonly #owner: string
  readonly #sign: SignBytes
  #incarnation = 0
  #edition: Edition = { version: 0, rows: [] }
  #told: Edition | undefined
  #section: Section
  #news: SectionNews | undefined

  constructor(owner: string, sign: SignBytes) {
    this.#owner = owner
    this.#sign = sign
    this.#section = this.#write()
  }

  get section(): Section {
    return this.#section
  }

  /** Begins a run of this node. The section counts as told: whoever connects gets it with the first sync. */
  begin(incarnation: number): void {
    this.#incarnation = incarnation
    this.#put({ version: 1, rows: this.#edition.rows })
    this.#told = this.#edition
  }

  /**
   * Replaces what is registered; false when it is what was there already.
   *
   * @throws HsuError LIMIT_EXCEEDED for too many, too large or unacceptable registrations; then nothing changes
   */
  publish(registrations: readonly Registration[]): boolean {
    checkCount(registrations.length)
    const { rows, version } = this.#edition
    const known = new Map(rows.map((row) => [row.text, row]))
    const arranged = arrange(
      rows,
      registrations.map((registration) => known.get(textOf(registration)) ?? newRow(registration)),
    )
    if (arranged.length === rows.length && arranged.every((row, index) => row === rows[index])) return false
    checkBytes(this.#bytesOf({ version: version + 1, rows: arranged }).length)
    this.#put({ version: version + 1, rows: arranged })
    return true
  }

  /** Goes above `version`, which somebody else holds as this node's. The whole is told: what others have is no base. */
  outbid(version: number): void {
    if (version >= MAX_COUNT - 1) return
    this.#put({ version: version + 1, rows: this.#edition.rows })
    this.#told = undefined
  }

  /** What to tell others of the last change: since what they were told last, or since what is in this news already. */
  news(): SectionNews {
    this.#news ??= this.#newsSince(this.#told)
    return this.#news
  }

  /** What is registered now has been told. */
  markTold(): void {
    this.#news = this.news()
    this.#told = this.#edition
  }

  #newsSince(base: Edition | undefined): SectionNews {
    const section = this.#section
    const { signed, owner, incarnation, version } = section
    if (signed === undefined || base === undefined || base.version >= version) return { section }
    const { removed, changed } = editsBetween(base.rows, this.#edition.rows)
    const bytes = changed.reduce((sum, { item }) => sum + item.bytes.length, 4 * removed.length)
    if (bytes > WORTHWHILE * signed.bytes.length) return { section }
    const entries = changed.map(({ at, item: { registration, bytes: row } }) => ({
      at,
      item: { registration, bytes: row },
    }))
    const { signature } = signed
    return {
      delta: { owner, incarnation, version, baseVersion: base.version, removed, changed: entries, signature },
    }
  }

  #put(edition: Edition): void {
    this.#edition = edition
    this.#news = undefined
    this.#section = this.#write()
  }

  #write(): Section {
    const { version, rows } = this.#edition
    const registrations = rows.map(({ registration }) => registration)
    const plain = { owner: this.#owner, incarnation: this.#incarnation, version, registrations }
    const bytes = this.#bytesOf(this.#edition)
    return { ...plain, signed: { bytes, signature: this.#sign(bytes) } }
  }

  #bytesOf({ version, rows }: Edition): Uint8Array {
    const head = { owner: this.#owner, incarnation: this.#incarnation, version }
    return joinSection(
      head,
      rows.map(({ bytes }) => bytes),
    )
  }
}

/** What others would refuse must not leave this node: they would drop the whole section. */
function newRow(registration: Registration): Row {
  const bytes = registrationToBytes(registration)
  try {
    registrationFromBytes(bytes)
  } catch (cause) {
    throw new HsuError('LIMIT_EXCEEDED', `registrations cannot be sent: ${messageOf(cause)}`, { cause })
  }
  return { key: keyOf(registration), text: textOf(registration), registration, bytes }
}

function checkCount(registrations: number): void {
  if (registrations <= MAX_REGISTRATIONS) return
  const details = { registrations, maxRegistrations: MAX_REGISTRATIONS }
  const message = `${registrations} registrations, more than the ${MAX_REGISTRATIONS} that one node may have`
  throw new HsuError('LIMIT_EXCEEDED', message, { details })
}

function checkBytes(bytes: number): void {
  if (bytes <= MAX_SECTION_BYTES) return
  const details = { bytes, maxBytes: MAX_SECTION_BYTES }
  const message = `registrations take ${bytes} bytes, more than the ${MAX_SECTION_BYTES} that one node may have`
  throw new HsuError('LIMIT_EXCEEDED', message, { details })
}
