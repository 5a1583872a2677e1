/** What a header field means to somebody who passes it on, by its name. */
export const Kind = {
  plain: 0,
  method: 1,
  scheme: 2,
  authority: 3,
  path: 4,
  status: 5,
  /** `te`, of which only `trailers` is allowed. */
  te: 6,
  contentType: 7,
  contentLength: 8,
  /** It speaks of one connection and must not be there (RFC 9113 8.2.2). */
  connection: 9,
  /** By which callers steer the router; units do not see it. */
  routing: 10,
  timeout: 11,
  grpcStatus: 12,
  /** A pseudo-header field that nobody knows. */
  pseudo: 13,
  /** Not the name of a field. */
  invalid: 14,
} as const

export type Kind = (typeof Kind)[keyof typeof Kind]

const KINDS: ReadonlyMap<string, Kind> = new Map<string, Kind>([
  [':method', Kind.method],
  [':scheme', Kind.scheme],
  [':authority', Kind.authority],
  [':path', Kind.path],
  [':status', Kind.status],
  ['te', Kind.te],
  ['content-type', Kind.contentType],
  ['content-length', Kind.contentLength],
  ['connection', Kind.connection],
  ['keep-alive', Kind.connection],
  ['proxy-connection', Kind.connection],
  ['transfer-encoding', Kind.connection],
  ['upgrade', Kind.connection],
  ['http2-settings', Kind.connection],
  ['hsu-unit', Kind.routing],
  ['hsu-node', Kind.routing],
  ['hsu-instance', Kind.routing],
  ['hsu-version', Kind.routing],
  ['hsu-control', Kind.routing],
  ['grpc-timeout', Kind.timeout],
  ['grpc-status', Kind.grpcStatus],
])

/** A token of RFC 9110 in lower case. */
const NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/

export function kindOfName(name: string): Kind {
  const known = KINDS.get(name)
  if (known !== undefined) return known
  if (NAME.test(name)) return Kind.plain
  return name.startsWith(':') ? Kind.pseudo : Kind.invalid
}
