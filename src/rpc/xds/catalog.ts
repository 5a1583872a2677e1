import { createHash } from 'node:crypto'
import { type ClientFeatures, featuresKey } from './client-features.ts'
import { type FactSources, factsOf, type ServiceFacts } from './facts.ts'
import { type ResourceKind, resourceOf, type Viewpoint } from './resources.ts'

/** One resource as clients get it. */
export interface Resource {
  readonly name: string
  readonly bytes: Uint8Array
  /** Changes exactly when the bytes do. */
  readonly check: string
}

export interface CatalogSources extends FactSources {
  readonly viewpoint: () => Viewpoint
}

interface Entry {
  /** The state of the world it was last compared with. */
  epoch: number
  readonly subject: Subject
  /** The subject as text, to compare. */
  readonly text: string
  readonly resources: Partial<Record<ResourceKind, Resource>>
}

/** Names whose resources are kept; those of names that nobody asks for any more go first. */
const MAX_ENTRIES = 10_000

/**
 * The resources of all names that clients ask for. Any name has all four: whatever is not known leads to the ingress,
 * which says so. So nothing is ever taken away from a client that still uses it, and no client waits for an answer.
 *
 * A resource is encoded anew only when the facts of its name have changed.
 */
export class Catalog {
  readonly #sources: CatalogSources
  readonly #entries = new Map<string, Entry>()
  #epoch = 1

  constructor(sources: CatalogSources) {
    this.#sources = sources
  }

  /** How often the world has changed. */
  get epoch(): number {
    return this.#epoch
  }

  /** The world has changed: facts are gathered anew, when they are asked for. */
  refresh(): void {
    this.#epoch += 1
  }

  resource(kind: ResourceKind, name: string, features: ClientFeatures): Resource {
    const key = `${featuresKey(features)} ${name}`
    const entry = this.#current(key, name, features)
    const known = entry.resources[kind]
    if (known !== undefined) return known
    const bytes = resourceOf(kind, entry.subject.facts, entry.subject.viewpoint)
    const check = createHash('sha256').update(bytes).digest('base64url').slice(0, 12)
    const made = { name, bytes, check }
    entry.resources[kind] = made
    return made
  }

  #current(key: string, name: string, features: ClientFeatures): Entry {
    const known = this.#entries.get(key)
    if (known?.epoch === this.#epoch) return known
    const subject: Subject = { facts: factsOf(name, this.#sources, features), viewpoint: this.#sources.viewpoint() }
    const text = JSON.stringify(subject)
    const entry: Entry = known?.text === text ? known : { epoch: 0, subject, text, resources: {} }
    entry.epoch = this.#epoch
    this.#entries.delete(key)
    this.#entries.set(key, entry)
    const [oldest] = this.#entries.keys()
    if (this.#entries.size > MAX_ENTRIES && oldest !== undefined) this.#entries.delete(oldest)
    return entry
  }
}

/** All that the resources of a name are made from. */
interface Subject {
  readonly facts: ServiceFacts
  readonly viewpoint: Viewpoint
}
