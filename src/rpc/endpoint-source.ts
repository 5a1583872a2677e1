import type { LinkTarget } from './target.ts'

/** One place where a unit is served: one instance, as the router sees it. */
export interface Endpoint {
  readonly unit: string
  readonly instance: string
  /** The owner: only it connects to `address`, others go through a link to it. */
  readonly nodeId: string
  /** Name of the owner. */
  readonly node: string
  /** `host:port` or `unix:/path`, on the host of its owner. */
  readonly address: string
  readonly ready: boolean
  readonly version: string | undefined
  /** Set when a call that comes while it is not ready may be held. Then `address` may be empty. */
  readonly onCall?: OnCall | undefined
  /** Set when its unit gets only a part of the calls to its services. */
  readonly canary?: Canary | undefined
  /** Label `zone` of its owner; undefined or empty without one. */
  readonly zone?: string | undefined
}

/** All calls, in the parts that shares of them are counted in. */
export const WHOLE_SHARE = 10_000

/** Which calls a unit gets that offers services beside other units. */
export interface Canary {
  /** Of `WHOLE_SHARE` calls. */
  readonly share: number
  /** Metadata by which a call asks for it: all of these, and equal. */
  readonly headers: Readonly<Record<string, string>>
}

/** What becomes of a call that comes while its unit is not ready. */
export interface OnCall {
  /** How long it waits. */
  readonly holdMs: number
  /** It starts the unit when that sleeps; else it only waits for one that is on its way. */
  readonly starts: boolean
}

/** One endpoint and the services it offers. */
export interface WorldEntry {
  readonly endpoint: Endpoint
  readonly services: readonly string[]
}

/** What a source can tell as a whole, so that another thread can have a copy. */
export interface WorldFeed {
  entries(): readonly WorldEntry[]
  /** How to reach each member that is there, this node among them. */
  links(): readonly LinkTarget[]
  /** Whether all services of this node's own units are known. */
  settled(): boolean
  /** Calls `listener` after each change; returns how to end that. */
  onChange(listener: () => void): () => void
}

/** What the router must know of the world. Asked for each call, so it answers from memory. */
export interface EndpointSource {
  /** The endpoints of a gRPC service, ready or not. Undefined when nobody in the mesh knows the service. */
  upstream(service: string): readonly Endpoint[] | undefined
  /** All endpoints of a unit, whatever services it has told; empty when there are none. */
  byUnit(unit: string): readonly Endpoint[]
  /** Changes whenever an answer may be another one than before; left out when that cannot be told. */
  version?(): number
  /** While not all services of this node's own units are known, just after its start: resolves when they are. Left out: they are. */
  settling?(): Promise<void> | undefined
  /** Left out when the source cannot be copied to another thread. */
  readonly feed?: WorldFeed
  /** Full names of all known gRPC services, sorted. */
  services(): readonly string[]
}

/** The endpoint of one instance. Faster when its unit is known; else the unit is taken from the instance's name. */
export function findInstance(source: EndpointSource, instance: string, unit?: string): Endpoint | undefined {
  const units = unit === undefined ? prefixes(instance) : [unit]
  for (const name of units) {
    const found = source.byUnit(name).find((endpoint) => endpoint.instance === instance)
    if (found !== undefined) return found
  }
  return undefined
}

/** What stands before each dash, the longest first: an instance is named after its unit, `api-v2-0-3fa9c1`. */
function prefixes(instance: string): readonly string[] {
  const names: string[] = []
  for (let at = instance.lastIndexOf('-'); at > 0; at = instance.lastIndexOf('-', at - 1))
    names.push(instance.slice(0, at))
  return names
}
