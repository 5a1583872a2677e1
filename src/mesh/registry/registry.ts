import { HsuError } from '../../base/error.ts'
import type { Registration, Section } from '../member.ts'
import { MAX_COUNT, MAX_REGISTRATIONS } from '../limits.ts'
import { canonical, mergeSection } from './section.ts'

/** What all nodes register: one section an owner, of which the owner is the only writer. */
export class Registry {
  readonly #self: string
  readonly #sign: (section: Section) => Section
  readonly #sections = new Map<string, Section>()
  #ownText: string
  #revision = 0
  #snapshot: ReadonlyMap<string, readonly Registration[]> | undefined

  /** @param sign puts this node's signature on its own section */
  constructor(self: string, sign: (section: Section) => Section = (section) => section) {
    this.#self = self
    this.#sign = sign
    this.#sections.set(self, { owner: self, incarnation: 0, version: 0, registrations: [] })
    this.#ownText = canonical([])
  }

  /** Grows with each change. */
  get revision(): number {
    return this.#revision
  }

  /** This node's own section. */
  get own(): Section {
    return this.#sections.get(this.#self) as Section
  }

  /** Begins a run of this node: its section becomes version 1 of `incarnation`, with what was published so far. */
  begin(incarnation: number): void {
    this.#put({ ...this.own, incarnation, version: 1 })
  }

  /**
   * Replaces what this node registers; false when it is what was there already.
   *
   * @throws HsuError LIMIT_EXCEEDED for more than 1,000 registrations.
   */
  publish(registrations: readonly Registration[]): boolean {
    if (registrations.length > MAX_REGISTRATIONS) {
      const details = { registrations: registrations.length, maxRegistrations: MAX_REGISTRATIONS }
      const message = `${registrations.length} registrations, more than the ${MAX_REGISTRATIONS} that one node may have`
      throw new HsuError('LIMIT_EXCEEDED', message, { details })
    }
    const text = canonical(registrations)
    if (text === this.#ownText) return false
    this.#ownText = text
    this.#put({ ...this.own, version: this.own.version + 1, registrations: [...registrations] })
    return true
  }

  /** The section of `owner`, if we hold one. */
  get(owner: string): Section | undefined {
    return this.#sections.get(owner)
  }

  /** Whether a section of another node is newer than ours, so that its signature is worth checking. */
  isNews(section: Section): boolean {
    if (section.owner === this.#self) return false
    const known = this.#sections.get(section.owner)
    return known === undefined || mergeSection(known, section) !== known
  }

  /** Takes a section of another node if it is newer than ours; whether it was. */
  take(section: Section): boolean {
    if (!this.isNews(section)) return false
    this.#put(section)
    return true
  }

  /**
   * Goes above a section of this run of this node that somebody else holds and this node did not write; false when
   * there is no need. Others would take that one for newer than all that is published here.
   */
  outbid(section: Section): boolean {
    const { owner, incarnation, version } = this.own
    if (section.owner !== owner || section.incarnation !== incarnation || section.version < version) return false
    if (section.version === version && canonical(section.registrations) === this.#ownText) return false
    if (section.version >= MAX_COUNT - 1) return false
    this.#put({ ...this.own, version: section.version + 1 })
    return true
  }

  /** Forgets the section of another node; whether there was one with registrations in it. */
  drop(owner: string): boolean {
    const known = this.#sections.get(owner)
    if (known === undefined || owner === this.#self) return false
    this.#sections.delete(owner)
    this.#touch()
    return known.registrations.length > 0
  }

  /** All registrations by owner; a value that does not change any more. */
  registrations(): ReadonlyMap<string, readonly Registration[]> {
    this.#snapshot ??= new Map([...this.#sections].map(([owner, section]) => [owner, section.registrations]))
    return this.#snapshot
  }

  #put(section: Section): void {
    this.#sections.set(section.owner, section.owner === this.#self ? this.#sign(section) : section)
    this.#touch()
  }

  #touch(): void {
    this.#revision += 1
    this.#snapshot = undefined
  }
}
