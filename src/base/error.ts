/** The names of the gRPC status codes that HSU uses (grpc/grpc doc/statuscodes.md). */
export type GrpcStatus =
  | 'CANCELLED'
  | 'INVALID_ARGUMENT'
  | 'DEADLINE_EXCEEDED'
  | 'NOT_FOUND'
  | 'ALREADY_EXISTS'
  | 'PERMISSION_DENIED'
  | 'RESOURCE_EXHAUSTED'
  | 'FAILED_PRECONDITION'
  | 'ABORTED'
  | 'UNIMPLEMENTED'
  | 'INTERNAL'
  | 'UNAVAILABLE'
  | 'DATA_LOSS'
  | 'UNAUTHENTICATED'

interface ReasonSpec {
  readonly status: GrpcStatus
  /** `never`: the same call fails again. `backoff`: it may succeed later, unchanged. */
  readonly retry: 'never' | 'backoff'
  /** What it means and what to do about it; printed in docs/errors.md. */
  readonly advice: string
}

/** The catalogue of failures. Reasons are public API: add freely, never rename. docs/errors.md is generated from it. */
// biome-ignore format: a table reads by column
export const REASONS = {
  CONFIG_INVALID:      { status: 'INVALID_ARGUMENT',    retry: 'never',   advice: 'A configuration value is wrong. The message names every fault with its line; correct the file and try again.' },
  USAGE:               { status: 'INVALID_ARGUMENT',    retry: 'never',   advice: 'The command or request is not well formed. See `hsu help` or the message.' },
  UNIT_NOT_FOUND:      { status: 'NOT_FOUND',           retry: 'never',   advice: 'No unit of that name is known on the node that was asked. `hsu ps` lists the units of the whole mesh.' },
  NODE_NOT_FOUND:      { status: 'NOT_FOUND',           retry: 'never',   advice: 'No member of the mesh has that name or id. `hsu nodes` lists them.' },
  SERVICE_NOT_FOUND:   { status: 'UNIMPLEMENTED',       retry: 'never',   advice: 'No unit in the mesh offers that gRPC service. `hsu services` lists what is offered.' },
  PROCESS_NOT_FOUND:   { status: 'NOT_FOUND',           retry: 'backoff', advice: 'No process matches the description of an unmanaged unit. It is looked for again every few seconds.' },
  PROCESS_AMBIGUOUS:   { status: 'FAILED_PRECONDITION', retry: 'never',   advice: 'Several processes match the description of an unmanaged unit. Add `args`, or use `pid_file` or `port`.' },
  UNIT_EXISTS:         { status: 'ALREADY_EXISTS',      retry: 'never',   advice: 'A unit of that name is already known on this node.' },
  NODE_EXISTS:         { status: 'ALREADY_EXISTS',      retry: 'never',   advice: 'Another node already runs with this data directory. Stop it, or choose another with --data-dir.' },
  UNIT_NOT_MANAGED:    { status: 'FAILED_PRECONDITION', retry: 'never',   advice: 'The unit is unmanaged: HSU watches it but does not own its life.' },
  ALREADY_RUNNING:     { status: 'FAILED_PRECONDITION', retry: 'backoff', advice: 'The unit runs already. Wait until it has ended, or stop it first.' },
  RUN_NOT_FOUND:       { status: 'NOT_FOUND',           retry: 'never',   advice: 'The unit has no such run that has not ended. `hsu runs UNIT` lists its runs.' },
  UNIT_FAILED:         { status: 'FAILED_PRECONDITION', retry: 'never',   advice: 'The unit failed and is not being restarted. `hsu describe UNIT` and `hsu logs UNIT` tell why.' },
  SPAWN_FAILED:        { status: 'FAILED_PRECONDITION', retry: 'never',   advice: 'The program of the unit cannot be run. Check the path, its permissions and its working directory.' },
  UPGRADE_FAILED:      { status: 'ABORTED',             retry: 'backoff', advice: 'The new process of the node did not take over; the old one goes on as before. The message says why.' },
  NODE_DRAINING:       { status: 'FAILED_PRECONDITION', retry: 'backoff', advice: 'The node is shutting down and takes no new work.' },
  LEASE_LOST:          { status: 'ABORTED',             retry: 'backoff', advice: 'Another owner took over in the meantime.' },
  NO_ENDPOINT:         { status: 'UNAVAILABLE',         retry: 'backoff', advice: 'The service is known but no instance is ready. `hsu services` shows its endpoints.' },
  WAKE_FAILED:         { status: 'UNAVAILABLE',         retry: 'backoff', advice: 'The unit sleeps until it is called, and did not start for this call. The message says why; `hsu why UNIT` tells more.' },
  NODE_UNREACHABLE:    { status: 'UNAVAILABLE',         retry: 'backoff', advice: 'The node cannot be reached. `hsu nodes` shows what the mesh knows of it; `hsu doctor` tests this host.' },
  NOT_STARTED:         { status: 'UNAVAILABLE',         retry: 'backoff', advice: 'The part that was asked is not running. Start a node with `hsu up`.' },
  TIMED_OUT:           { status: 'DEADLINE_EXCEEDED',   retry: 'backoff', advice: 'It took longer than was allowed.' },
  QUEUE_FULL:          { status: 'RESOURCE_EXHAUSTED',  retry: 'backoff', advice: 'A bounded queue is full; the caller is faster than the work.' },
  OVERLOADED:          { status: 'RESOURCE_EXHAUSTED',  retry: 'backoff', advice: 'More calls than the `route.limits` of the unit allow. The answer says how long to wait (`retryAfterMs`, `grpc-retry-pushback-ms`).' },
  LIMIT_EXCEEDED:      { status: 'RESOURCE_EXHAUSTED',  retry: 'never',   advice: 'A size or count limit was exceeded; the message names it.' },
  NOT_PERMITTED:       { status: 'PERMISSION_DENIED',   retry: 'never',   advice: 'The configuration does not allow it.' },
  NOT_AUTHENTICATED:   { status: 'UNAUTHENTICATED',     retry: 'never',   advice: 'The caller is not a member of this mesh.' },
  CANCELLED:           { status: 'CANCELLED',           retry: 'never',   advice: 'The caller gave up.' },
  UNSUPPORTED:         { status: 'UNIMPLEMENTED',       retry: 'never',   advice: 'This version, or this operating system, cannot do it. See the status table in the README.' },
  STORE_CORRUPT:       { status: 'DATA_LOSS',           retry: 'never',   advice: 'A file in the data directory could not be read. It was set aside, never deleted; the message names it.' },
  INTERNAL:            { status: 'INTERNAL',            retry: 'never',   advice: 'A fault in HSU. Please report it with the log of the node.' },
} as const satisfies Record<string, ReasonSpec>

export type Reason = keyof typeof REASONS
export type Details = Readonly<Record<string, string | number | boolean>>

export interface HsuErrorOptions {
  readonly details?: Details
  readonly cause?: unknown
}

/**
 * The one error HSU throws on purpose. Branch on `reason`, never on `message`.
 *
 * On the wire it is a `google.rpc.Status` carrying an `ErrorInfo` of
 * `{ reason, domain: 'hsu', metadata: details }` (https://google.aip.dev/193),
 * so a client in any language can rebuild it.
 */
export class HsuError extends Error {
  override readonly name = 'HsuError'
  readonly reason: Reason
  readonly details: Details

  constructor(reason: Reason, message: string, options: HsuErrorOptions = {}) {
    super(message, { cause: options.cause })
    this.reason = reason
    this.details = options.details ?? {}
  }

  /** Wraps anything caught at a boundary; an `HsuError` passes through untouched. */
  static from(thrown: unknown): HsuError {
    if (thrown instanceof HsuError) return thrown
    return new HsuError('INTERNAL', messageOf(thrown), { cause: thrown })
  }

  get status(): GrpcStatus {
    return REASONS[this.reason].status
  }

  get retryable(): boolean {
    return REASONS[this.reason].retry === 'backoff'
  }
}

/** True for the names in the catalogue; narrows text that came over the wire. */
export function isReason(text: string): text is Reason {
  return Object.hasOwn(REASONS, text)
}

/** The message of anything that can be thrown. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown)
}

/** The `code` of a Node.js system error, such as `ENOENT`; undefined for anything else. */
export function systemCode(thrown: unknown): string | undefined {
  const code = thrown instanceof Error ? (thrown as NodeJS.ErrnoException).code : undefined
  return typeof code === 'string' ? code : undefined
}
