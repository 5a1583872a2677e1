import { Latch } from '../../base/latch.ts'
import type { RouteConfig } from '../config.ts'
import type { Endpoint, EndpointSource, WorldEntry, WorldFeed } from '../endpoint-source.ts'
import type { LinkTarget } from '../target.ts'

/** What has changed since the last one, for a copy that has all before. */
export interface WorldChange {
  readonly set: readonly WorldEntry[]
  /** Keys of entries that are no more. */
  readonly gone: readonly string[]
  /** All of them, when any has changed. */
  readonly links: readonly LinkTarget[] | undefined
  /** By unit; undefined: the defaults. */
  readonly routes: readonly (readonly [unit: string, route: RouteConfig | undefined])[]
  /** From now on all services of the node's own units are known. */
  readonly settled: boolean
}

/** The same for one endpoint for as long as it is there. Those that have not run yet have no instance. */
function keyOf({ nodeId, unit, instance }: Endpoint): string {
  return `${nodeId}\n${instance || unit}`
}

/** Finds out what has changed. */
export class WorldDiff {
  readonly #feed: WorldFeed
  readonly #routeOf: (unit: string) => RouteConfig | undefined
  #entries = new Map<string, WorldEntry>()
  #links = ''
  #settled = false
  readonly #routes = new Map<string, string>()

  constructor(feed: WorldFeed, routeOf: (unit: string) => RouteConfig | undefined) {
    this.#feed = feed
    this.#routeOf = routeOf
  }

  /** Undefined when nothing has. */
  next(): WorldChange | undefined {
    const set: WorldEntry[] = []
    const entries = new Map<string, WorldEntry>()
    for (const entry of this.#feed.entries()) {
      const key = keyOf(entry.endpoint)
      const known = this.#entries.get(key)
      const same = known !== undefined && isSame(known, entry)
      if (!same) set.push(plain(entry))
      entries.set(key, same ? known : entry)
    }
    const gone = [...this.#entries.keys()].filter((key) => !entries.has(key))
    this.#entries = entries
    const links = this.#newLinks()
    const routes = this.#newRoutes(set)
    const settled = !this.#settled && this.#feed.settled()
    if (settled) this.#settled = true
    else if (set.length === 0 && gone.length === 0 && links === undefined && routes.length === 0) return undefined
    return { set, gone, links, routes, settled }
  }

  #newLinks(): readonly LinkTarget[] | undefined {
    const links = plain(this.#feed.links())
    const text = JSON.stringify(links)
    if (text === this.#links) return undefined
    this.#links = text
    return links
  }

  #newRoutes(set: readonly WorldEntry[]): [string, RouteConfig | undefined][] {
    const changed: [string, RouteConfig | undefined][] = []
    const units = new Set([...this.#routes.keys(), ...set.map(({ endpoint }) => endpoint.unit)])
    for (const unit of units) {
      const route = this.#routeOf(unit)
      const text = route === undefined ? '' : JSON.stringify(route)
      if (text === this.#routes.get(unit)) continue
      this.#routes.set(unit, text)
      changed.push([unit, route && plain(route)])
    }
    return changed
  }
}

function isSame(one: WorldEntry, other: WorldEntry): boolean {
  if (one.services.length !== other.services.length) return false
  if (one.services.some((service, at) => service !== other.services[at])) return false
  const keys = Object.keys(other.endpoint) as (keyof Endpoint)[]
  return keys.every((key) => {
    const [before, now] = [one.endpoint[key], other.endpoint[key]]
    return before === now || (typeof now === 'object' && JSON.stringify(before) === JSON.stringify(now))
  })
}

/** Only data: what is more than that cannot go to another thread. */
function plain<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T
}

/** A copy of the world, kept up to date by changes. */
export class WorldCopy implements EndpointSource {
  readonly #entries = new Map<string, WorldEntry>()
  readonly #routes = new Map<string, RouteConfig | undefined>()
  #byService = new Map<string, Endpoint[]>()
  #byUnit = new Map<string, Endpoint[]>()
  #services: readonly string[] = []
  #links = new Map<string, LinkTarget>()
  #members = new Map<string, string>()
  #version = 0
  readonly #settled = new Latch()

  apply({ set, gone, links, routes, settled }: WorldChange): void {
    for (const key of gone) this.#entries.delete(key)
    for (const entry of set) this.#entries.set(keyOf(entry.endpoint), entry)
    for (const [unit, route] of routes) this.#routes.set(unit, route)
    if (links !== undefined) {
      this.#links = new Map(links.map((link) => [link.nodeId, link]))
      this.#members = new Map(
        links.flatMap(({ fingerprint, further = [], nodeId }) =>
          [fingerprint, ...further].map((print): [string, string] => [print, nodeId]),
        ),
      )
    }
    if (set.length > 0 || gone.length > 0) this.#index()
    this.#version += 1
    if (settled) this.#settled.open()
  }

  settling(): Promise<void> | undefined {
    return this.#settled.opening()
  }

  upstream(service: string): readonly Endpoint[] | undefined {
    return this.#byService.get(service)
  }

  byUnit(unit: string): readonly Endpoint[] {
    return this.#byUnit.get(unit) ?? []
  }

  services(): readonly string[] {
    return this.#services
  }

  version(): number {
    return this.#version
  }

  linkOf(nodeId: string): LinkTarget | undefined {
    return this.#links.get(nodeId)
  }

  memberWith(fingerprint: string): string | undefined {
    return this.#members.get(fingerprint)
  }

  routeOf(unit: string): RouteConfig | undefined {
    return this.#routes.get(unit)
  }

  #index(): void {
    this.#byService = new Map()
    this.#byUnit = new Map()
    for (const { endpoint, services } of this.#entries.values()) {
      add(this.#byUnit, endpoint.unit, endpoint)
      for (const service of services) add(this.#byService, service, endpoint)
    }
    this.#services = [...this.#byService.keys()].sort()
  }
}

function add(index: Map<string, Endpoint[]>, key: string, endpoint: Endpoint): void {
  const known = index.get(key)
  if (known === undefined) index.set(key, [endpoint])
  else known.push(endpoint)
}
