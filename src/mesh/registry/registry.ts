import type { Registration, Section } from '../member.ts'
import { OwnSection, type SectionNews, type SignBytes } from './own-section.ts'
import { canonical, mergeSection } from './section.ts'

/** What all nodes register: one section an owner, of which the owner is the only writer. */
export class Registry {
  readonly #self: string
  readonly #own: OwnSection
  /** Of the others. */
  readonly #sections = new Map<string, Section>()
  #revision = 0
  #snapshot: ReadonlyMap<string, readonly Registration[]> | undefined

  /** @param sign signs the bytes of this node's own section */
  constructor(self: string, sign: SignBytes = () => new Uint8Array()) {
    this.#self = self
    this.#own = new OwnSection(self, sign)
  }

  /** Grows with each change. */
  get revision(): number {
    return this.#revision
  }

  /** This node's own section. */
  get own(): Section {
    return this.#own.section
  }

  /** Begins a run of this node: its section becomes version 1 of `incarnation`, with what was published so far. */
  begin(incarnation: number): void {
    this.#own.begin(incarnation)
    this.#touch()
  }

  /**
   * Replaces what this node registers; false when it is what was there already.
   *
   * @throws HsuError LIMIT_EXCEEDED for more than 4,000 registrations, 512 KiB, or one that others would refuse.
   */
  publish(registrations: readonly Registration[]): boolean {
    const changed = this.#own.publish(registrations)
    if (changed) this.#touch()
    return changed
  }

  /** What to tell others of the last change of the own section. */
  news(): SectionNews {
    return this.#own.news()
  }

  /** All who are connected were told the news. */
  markTold(): void {
    this.#own.markTold()
  }

  /** The section of `owner`, if we hold one. */
  get(owner: string): Section | undefined {
    return owner === this.#self ? this.own : this.#sections.get(owner)
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
    this.#sections.set(section.owner, section)
    this.#touch()
    return true
  }

  /**
   * Goes above a section of this run of this node that somebody else holds and this node did not write; false when
   * there is no need. Others would take that one for newer than all that is published here.
   */
  outbid(section: Section): boolean {
    const { owner, incarnation, version } = this.own
    if (section.owner !== owner || section.incarnation !== incarnation || section.version < version) return false
    if (section.version === version && canonical(section.registrations) === canonical(this.own.registrations))
      return false
    this.#own.outbid(section.version)
    this.#touch()
    return this.own.version > version
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
    this.#snapshot ??= new Map([this.own, ...this.#sections.values()].map((one) => [one.owner, one.registrations]))
    return this.#snapshot
  }

  #touch(): void {
    this.#revision += 1
    this.#snapshot = undefined
  }
}
