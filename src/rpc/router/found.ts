import { type Endpoint, type EndpointSource } from '../endpoint-source.ts'
import type { CallHead } from '../target.ts'
import { type Match, match, wantedFrom } from './route.ts'
import { type Part, type Split, splitOf } from './split.ts'

/** What a call has found: the endpoints that it asks for, and those of them that are ready. */
export interface Found extends Match {
  readonly ready: readonly Endpoint[]
  /** How calls are split between the units among them; undefined when all are alike. */
  readonly split: Split | undefined
}

/** What is remembered of a decision on the field that holds the path of a call. */
interface Remembered {
  readonly by: object
  readonly version: number
  readonly authority: object | undefined
  readonly found: Found
}

/**
 * Looks up what calls ask for. Calls of one connection that look the same have the same field objects for path and authority, so
 * that what was found is kept there, for as long as the world stays as it is.
 */
export class Finder {
  readonly #source: EndpointSource

  constructor(source: EndpointSource) {
    this.#source = source
  }

  /** @throws HsuError `SERVICE_NOT_FOUND` or `UNIT_NOT_FOUND` */
  find(head: CallHead): Found {
    const { pathField, authorityField, steered } = head
    const version = this.#source.version?.()
    if (steered || version === undefined || pathField === undefined) return this.#look(head)
    const known = pathField.memo as Remembered | undefined
    if (known?.by === this && known.version === version && known.authority === authorityField) return known.found
    const found = this.#look(head)
    pathField.memo = { by: this, version, authority: authorityField, found } satisfies Remembered
    return found
  }

  #look(head: CallHead): Found {
    const { label, endpoints } = match(wantedFrom(head), this.#source)
    return { label, endpoints, ready: endpoints.filter((endpoint) => endpoint.ready), split: splitOf(endpoints) }
  }
}

/** What is left of it for a call that goes to this part. */
export function partOf({ label, endpoints, ready }: Found, { units }: Part): Found {
  const has = ({ unit }: Endpoint): boolean => units.includes(unit)
  return { label, endpoints: endpoints.filter(has), ready: ready.filter(has), split: undefined }
}
