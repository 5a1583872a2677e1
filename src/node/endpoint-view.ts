import type { MemberView, Registration } from '../mesh/index.ts'
import type { Endpoint, EndpointSource, WorldEntry } from '../rpc/index.ts'

/** What the router may use of the registry, indexed by service and by unit. Made anew after each change, never edited. */
export interface EndpointView extends EndpointSource {
  readonly entries: readonly WorldEntry[]
}

export const EMPTY_VIEW: EndpointView = viewOf([])

/**
 * Turns registrations by owner into endpoints. An owner that is not alive or suspect offers nothing;
 * units without an address are not endpoints, unless a call would start them.
 */
export function endpointView(
  members: readonly MemberView[],
  registrations: ReadonlyMap<string, readonly Registration[]>,
): EndpointView {
  const entries: WorldEntry[] = []
  for (const { nodeId, status, record } of members) {
    if (status !== 'alive' && status !== 'suspect') continue
    for (const registration of registrations.get(nodeId) ?? []) {
      const { unit, instance, address, ready, services, onCall, canary, version } = registration
      if (address === '' && onCall === undefined) continue
      const node = record?.name ?? nodeId
      const endpoint = {
        unit,
        instance,
        nodeId,
        node,
        address,
        ready: ready && address !== '',
        version,
        onCall,
        canary,
        zone: record?.labels['zone'],
      }
      entries.push({ endpoint, services })
    }
  }
  return viewOf(entries)
}

function viewOf(entries: readonly WorldEntry[]): EndpointView {
  const byService = new Map<string, Endpoint[]>()
  const byUnit = new Map<string, Endpoint[]>()
  for (const { endpoint, services } of entries) {
    add(byUnit, endpoint.unit, endpoint)
    for (const service of services) add(byService, service, endpoint)
  }
  const services = [...byService.keys()].sort()
  return {
    entries,
    upstream: (service) => byService.get(service),
    byUnit: (unit) => byUnit.get(unit) ?? [],
    services: () => services,
  }
}

function add(index: Map<string, Endpoint[]>, key: string, endpoint: Endpoint): void {
  const known = index.get(key)
  if (known === undefined) index.set(key, [endpoint])
  else known.push(endpoint)
}
