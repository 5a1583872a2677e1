import { type OutgoingHttpHeaders, sensitiveHeaders } from 'node:http2'

/** A block of header fields as it came over the wire: name, value, name, value, ... with its order and repeats. */
export type RawFields = readonly string[]

/** A block of header fields, and the names that must never be put into a compression table (RFC 7541 6.2.3). */
export interface HeaderBlock {
  readonly fields: RawFields
  readonly sensitive: readonly string[]
}

/** The first value of a field; names are in lower case, as HTTP/2 has them. */
export function firstField(fields: RawFields, name: string): string | undefined {
  for (let at = 0; at + 1 < fields.length; at += 2) {
    if (fields[at] === name) return fields[at + 1]
  }
  return undefined
}

/** The names of the fields by which callers steer the router; units do not see them. */
export const ROUTING_FIELDS: ReadonlySet<string> = new Set([
  'hsu-unit',
  'hsu-node',
  'hsu-instance',
  'hsu-version',
  'hsu-control',
])

/** They speak of one connection and are never passed on (RFC 9113 8.2.2). */
const CONNECTION_FIELDS: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
])

/** Fields of which node:http2 refuses to send more than one; a second value is joined with a comma (RFC 9110 5.3). */
const SINGLE_FIELDS: ReadonlySet<string> = new Set(
  (
    'access-control-allow-credentials access-control-max-age access-control-request-method age authorization ' +
    'content-encoding content-language content-length content-location content-md5 content-range content-type date ' +
    'dnt etag expires from host if-match if-modified-since if-none-match if-range if-unmodified-since last-modified ' +
    'location max-forwards proxy-authorization range referer retry-after tk upgrade-insecure-requests user-agent ' +
    'x-content-type-options'
  ).split(' '),
)

/**
 * A token of RFC 9110 in lower case. A session destroys itself, with the calls of everybody on it, when it is
 * given another name to send, so that such a field is left out.
 */
const NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/

/** Which pseudo-header fields a block may have. */
export type BlockKind = 'request' | 'response' | 'trailers'

const PSEUDO_FIELDS: Readonly<Record<BlockKind, ReadonlySet<string>>> = {
  request: new Set([':method', ':scheme', ':authority', ':path']),
  response: new Set([':status']),
  trailers: new Set(),
}

/** The block as node:http2 sends it: values byte for byte, repeats kept, `without` and connection fields left out. */
export function toOutgoing(
  { fields, sensitive }: HeaderBlock,
  kind: BlockKind,
  without: ReadonlySet<string> = new Set(),
): OutgoingHttpHeaders {
  const outgoing = Object.create(null) as OutgoingHttpHeaders
  for (let at = 0; at + 1 < fields.length; at += 2) {
    const name = fields[at] ?? ''
    const value = fields[at + 1] ?? ''
    if (passes(name, value, kind) && !without.has(name)) add(outgoing, name, value)
  }
  if (sensitive.length > 0) Object.assign(outgoing, { [sensitiveHeaders]: sensitive })
  return outgoing
}

function passes(name: string, value: string, kind: BlockKind): boolean {
  if (name.startsWith(':')) return PSEUDO_FIELDS[kind].has(name)
  if (CONNECTION_FIELDS.has(name)) return false
  if (name === 'te') return value === 'trailers'
  return NAME.test(name)
}

function add(outgoing: OutgoingHttpHeaders, name: string, value: string): void {
  const known = outgoing[name]
  if (known === undefined) outgoing[name] = value
  else if (SINGLE_FIELDS.has(name)) outgoing[name] = `${String(known)}, ${value}`
  else if (Array.isArray(known)) known.push(value)
  else outgoing[name] = [String(known), value]
}
