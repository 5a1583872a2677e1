import { HsuError } from '../../base/error.ts'
import { type Endpoint, type EndpointSource, findInstance } from '../endpoint-source.ts'
import type { CallHead } from '../target.ts'

/** What a call asks for: the service in its path, and what narrows the choice of endpoints. */
export interface Wanted {
  readonly service: string
  readonly unit: string | undefined
  /** Name or id. */
  readonly node: string | undefined
  readonly instance: string | undefined
  readonly version: string | undefined
  /** Without its port. Counts only when it is the name of a unit or service. */
  readonly authority: string | undefined
}

/** The endpoints a call may go to, ready or not, and what to call them in a message. */
export interface Match {
  readonly label: string
  readonly endpoints: readonly Endpoint[]
}

/** How many names of what is known an error message lists. */
const MAX_LISTED = 10

/** Longer names are cut in messages: they come from the caller. */
const MAX_NAME_CHARS = 100

/** Reads what a call asks for from its head. @throws HsuError `SERVICE_NOT_FOUND` when the path is not `/service/method` */
export function wantedFrom(head: CallHead): Wanted {
  const { path, steered } = head
  const [, service] = /^\/([^/]+)\/[^/]+$/.exec(path) ?? []
  if (service === undefined) {
    throw new HsuError(
      'SERVICE_NOT_FOUND',
      `'${shown(path)}' is not the path of a gRPC call, such as /shop.v1.Orders/Get`,
    )
  }
  return {
    service,
    unit: steered ? head.text('hsu-unit') : undefined,
    node: steered ? head.text('hsu-node') : undefined,
    instance: steered ? head.text('hsu-instance') : undefined,
    version: steered ? head.text('hsu-version') : undefined,
    authority: head.authority?.replace(/:\d+$/, ''),
  }
}

/**
 * The endpoints that a call asks for. A service that the registry does not know by name, such as server reflection,
 * is found when the call names a unit, an instance or, as its authority, a unit or service.
 *
 * @throws HsuError `SERVICE_NOT_FOUND`, with what is known, or `UNIT_NOT_FOUND`
 */
export function match(wanted: Wanted, source: EndpointSource): Match {
  const { label, endpoints } = narrowed(baseOf(wanted, source), wanted)
  return { label, endpoints: endpoints.filter((endpoint) => isWanted(endpoint, wanted)) }
}

/** The error for a call that nobody can take now. */
export function noEndpoint({ label, endpoints }: Match): HsuError {
  return new HsuError('NO_ENDPOINT', `no ready endpoint for ${label} (${endpoints.length} known)`, {
    details: { target: label, known: endpoints.length },
  })
}

function baseOf({ service, unit, instance, authority }: Wanted, source: EndpointSource): Match {
  if (unit !== undefined) {
    const endpoints = source.byUnit(unit)
    if (endpoints.length === 0) throw unitNotFound(unit)
    return { label: `unit '${unit}'`, endpoints }
  }
  const offering = source.upstream(service)
  if (offering !== undefined) return { label: `'${service}'`, endpoints: ofAuthority(offering, authority) }
  if (instance !== undefined) {
    const found = findInstance(source, instance)
    return { label: `instance '${shown(instance)}'`, endpoints: found === undefined ? [] : [found] }
  }
  const named = authority === undefined ? undefined : namedBy(authority, source)
  if (named === undefined) throw serviceNotFound(service, source.services())
  return { label: `'${authority ?? ''}'`, endpoints: named }
}

/** A host name may equal the name of a unit by chance, so that an authority never makes a known service unreachable. */
function ofAuthority(endpoints: readonly Endpoint[], authority: string | undefined): readonly Endpoint[] {
  const ofUnit = endpoints.filter(({ unit }) => unit === authority)
  return ofUnit.length > 0 ? ofUnit : endpoints
}

function namedBy(authority: string, source: EndpointSource): readonly Endpoint[] | undefined {
  const ofUnit = source.byUnit(authority)
  return ofUnit.length > 0 ? ofUnit : source.upstream(authority)
}

function narrowed({ label, endpoints }: Match, { node, instance, version }: Wanted): Match {
  const words = [label]
  if (instance !== undefined) words.push(`instance '${shown(instance)}'`)
  if (version !== undefined) words.push(`version '${shown(version)}'`)
  if (node !== undefined) words.push(`on node '${shown(node)}'`)
  return { label: [...new Set(words)].join(' '), endpoints }
}

function isWanted(endpoint: Endpoint, { node, instance, version }: Wanted): boolean {
  return (
    (node === undefined || endpoint.node === node || endpoint.nodeId === node) &&
    (instance === undefined || endpoint.instance === instance) &&
    (version === undefined || endpoint.version === version)
  )
}

function unitNotFound(unit: string): HsuError {
  return new HsuError('UNIT_NOT_FOUND', `no node runs a unit '${shown(unit)}' that takes calls; see 'hsu ps'`, {
    details: { unit: shown(unit) },
  })
}

function serviceNotFound(service: string, known: readonly string[]): HsuError {
  return new HsuError('SERVICE_NOT_FOUND', `no unit offers '${shown(service)}'; ${listed(known)}`, {
    details: { service: shown(service) },
  })
}

function listed(known: readonly string[]): string {
  if (known.length === 0) return 'no service is known'
  const names = known.slice(0, MAX_LISTED).map(shown).join(', ')
  const more = known.length > MAX_LISTED ? ` and ${known.length - MAX_LISTED} more` : ''
  return `known: ${names}${more}`
}

function shown(name: string): string {
  return name.length <= MAX_NAME_CHARS ? name : `${name.slice(0, MAX_NAME_CHARS)}...`
}
