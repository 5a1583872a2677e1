import type { Canary, OnCall, Registration, ScheduleClaim, Tenure } from '../mesh/index.ts'
import type { InstanceStatus } from '../process/index.ts'

/** What the node knows of an instance beyond its process. */
export interface Offer {
  /** Full names of the gRPC services it serves. */
  readonly services: readonly string[]
  /** Being withdrawn: still there for calls in flight, offered to nobody. */
  readonly draining: boolean
  /** What the node says of the schedule of the unit, when it is a shared one. */
  readonly claim?: Omit<ScheduleClaim, 'active'> | undefined
  /** How the node stands to the unit, when only one of several nodes runs it. */
  readonly tenure?: Tenure | undefined
  /** What becomes of calls while it is not ready; undefined when they do not wait for it. */
  readonly onCall?: OnCall | undefined
  /** Set when the unit gets only a part of the calls to its services. */
  readonly canary?: Canary | undefined
  /** What the configuration says it is a version of. */
  readonly version?: string | undefined
}

/** How an instance is reached on this host: its port named `grpc`, else its only or first port; empty without one. */
export function addressOf(ports: Readonly<Record<string, number>>): string {
  const port = ports['grpc'] ?? Object.values(ports)[0]
  return port === undefined ? '' : `127.0.0.1:${port}`
}

/** What this node states to the mesh about one instance slot. */
export function toRegistration(
  status: InstanceStatus,
  { services, draining, claim, tenure, onCall, canary, version }: Offer,
): Registration {
  const { unit, instance, replica, kind, state, ports } = status
  return {
    unit,
    instance,
    replica,
    kind,
    state,
    ready: status.ready && !draining,
    services,
    address: kind === 'unmanaged' ? '' : addressOf(ports),
    ports,
    ...(draining ? { draining } : {}),
    ...(onCall === undefined ? {} : { onCall }),
    ...(canary === undefined ? {} : { canary }),
    ...(version === undefined ? {} : { version }),
    ...(claim === undefined ? {} : { schedule: { ...claim, active: status.job?.active ?? 0 } }),
    ...(tenure === undefined ? {} : { tenure }),
  }
}
