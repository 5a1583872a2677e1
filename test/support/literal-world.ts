import type { Endpoint, EndpointSource } from '../../src/rpc/endpoint-source.ts'

/** The service of the echo endpoints. */
export const SERVICE = 'echo.Echo'

/** A world written down: which endpoints offer which services. Change `entries` and the next call sees it. */
export interface LiteralWorld extends EndpointSource {
  entries: { endpoint: Endpoint; services: readonly string[] }[]
}

export function literalWorld(...entries: LiteralWorld['entries']): LiteralWorld {
  const world: LiteralWorld = {
    entries,
    upstream(service) {
      const found = world.entries.filter(({ services }) => services.includes(service)).map(({ endpoint }) => endpoint)
      return found.length > 0 ? found : undefined
    },
    byUnit: (unit) => world.entries.filter(({ endpoint }) => endpoint.unit === unit).map(({ endpoint }) => endpoint),
    services: () => [...new Set(world.entries.flatMap(({ services }) => services))].sort(),
  }
  return world
}

export function endpoint(values: Partial<Endpoint> = {}): Endpoint {
  return {
    unit: 'echo',
    instance: 'echo-0-aaaaaa',
    nodeId: 'self',
    node: 'here',
    address: '127.0.0.1:1',
    ready: true,
    version: undefined,
    ...values,
  }
}

/** An endpoint of `SERVICE` at an address. */
export function echoAt(address: string, values: Partial<Endpoint> = {}): LiteralWorld['entries'][number] {
  return { endpoint: endpoint({ address, ...values }), services: [SERVICE] }
}
