import { type Event, kindName, type LogLine, type Node, rfc3339, type ServiceEntry, type Unit } from './control.ts'

// The shapes that `-o json` prints. Public API (DESIGN section 4): add keys freely, never rename or remove one.

export type ExitShape = { readonly code: number } | { readonly signal: string } | null

/** An element of `hsu ps -o json`. */
export interface UnitShape {
  readonly unit: string
  readonly instance: string
  readonly replica: number
  readonly node: string
  readonly kind: string
  readonly state: string
  readonly ready: boolean
  readonly pid: number | null
  readonly startedAt: string | null
  readonly restarts: number
  readonly cpu: number
  readonly rssBytes: number
  readonly services: readonly string[]
  readonly ports: Readonly<Record<string, number>>
  readonly exit: ExitShape
  readonly reason: string
  readonly want: string
  readonly retryAt: string | null
  readonly limits: readonly LimitShape[]
  readonly run: string
  readonly schedule: string
  readonly nextRun: string | null
  /** Of an unmanaged unit that has a process. */
  readonly health: HealthShape | null
  /** Of an unmanaged unit: configuration, or who attached it. */
  readonly origin: string | null
}

/** One limit of a unit: how much, who sees to it, how much is used (null: not known). */
export interface LimitShape {
  readonly resource: string
  readonly value: number
  readonly mode: string
  readonly by: string
  readonly used: number | null
}

export interface HealthShape {
  readonly state: string
  readonly checks: readonly {
    readonly check: string
    readonly state: string
    readonly failures: number
    readonly failAfter: number
    readonly good: number
    readonly bad: number
    readonly message: string
  }[]
}

export function unitShape(unit: Unit): UnitShape {
  return {
    unit: unit.unit,
    instance: unit.instance,
    replica: unit.replica,
    node: unit.node,
    kind: kindName(unit.kind),
    state: unit.state,
    ready: unit.ready,
    pid: unit.pid === 0 ? null : unit.pid,
    startedAt: rfc3339(unit.startedAt),
    restarts: unit.restarts,
    cpu: unit.cpu,
    rssBytes: Number(unit.rssBytes),
    services: unit.services,
    ports: unit.ports,
    exit: exitShape(unit.exit),
    reason: unit.reason,
    want: unit.want,
    retryAt: rfc3339(unit.retryAt),
    limits: unit.limits.map(({ resource, value, mode, by, used }) => ({
      resource,
      value,
      mode,
      by,
      used: used ?? null,
    })),
    run: unit.job?.run ?? '',
    schedule: unit.job?.schedule ?? '',
    nextRun: rfc3339(unit.job?.nextRunAt),
    health: healthShape(unit.health),
    origin: unit.origin === '' ? null : unit.origin,
  }
}

function healthShape(health: Unit['health']): HealthShape | null {
  if (health === undefined) return null
  const checks = health.checks.map(({ check, state, failures, failAfter, good, bad, message }) => {
    return { check, state, failures, failAfter, good, bad, message }
  })
  return { state: health.state, checks }
}

export function exitShape(exit: Unit['exit']): ExitShape {
  switch (exit?.how.case) {
    case 'code':
      return { code: exit.how.value }
    case 'signal':
      return { signal: exit.how.value }
    case undefined:
      return null
  }
}

/** An element of `hsu nodes -o json`. */
export interface NodeShape {
  readonly node: string
  readonly id: string
  readonly status: string
  readonly incarnation: number
  readonly addresses: readonly string[]
  readonly labels: Readonly<Record<string, string>>
  readonly version: string
  readonly units: number
  readonly self: boolean
}

export function nodeShape(node: Node): NodeShape {
  return {
    node: node.node,
    id: node.id,
    status: node.status,
    incarnation: Number(node.incarnation),
    addresses: node.addresses,
    labels: node.labels,
    version: node.version,
    units: node.units,
    self: node.self,
  }
}

export interface EndpointShape {
  readonly unit: string
  readonly instance: string
  readonly node: string
  readonly address: string
  readonly ready: boolean
  readonly inFlight: number
  /** Left out when its configuration says none. */
  readonly version?: string
  /** Of a canary: the share of calls it gets, 0 to 1, and the metadata by which calls ask for it. */
  readonly canary?: { readonly share: number; readonly headers: Readonly<Record<string, string>> }
}

/** An element of `hsu services -o json`. */
export interface ServiceShape {
  readonly service: string
  readonly endpoints: readonly EndpointShape[]
}

export function serviceShape({ service, endpoints }: ServiceEntry): ServiceShape {
  const shapeOf = ({ version, canary, ...rest }: (typeof endpoints)[number]): EndpointShape => {
    const { unit, instance, node, address, ready, inFlight } = rest
    return {
      ...{ unit, instance, node, address, ready, inFlight },
      ...(version !== '' && { version }),
      ...(canary && { canary: { share: canary.share / 10_000, headers: { ...canary.headers } } }),
    }
  }
  return { service, endpoints: endpoints.map(shapeOf) }
}

/** A line of `hsu events -o json`. */
export interface EventShape {
  readonly time: string | null
  readonly node: string
  readonly unit: string
  readonly instance: string
  readonly type: string
  readonly reason: string
  readonly details: Readonly<Record<string, string>>
  readonly cause: string
  readonly id: string
  /** Id of the event that led to it; '' when none did. */
  readonly causedBy: string
  /** Who asked; '' when nobody did. */
  readonly actor: string
}

export function eventShape(event: Event): EventShape {
  const { time, node, unit, instance, type, reason, details, cause, id, causedBy, actor } = event
  return { time: rfc3339(time), node, unit, instance, type, reason, details, cause, id, causedBy, actor }
}

/** A line of `hsu logs -o json`. Bytes that are not UTF-8 become U+FFFD; the text output has them as they are. */
export interface LogShape {
  readonly time: string | null
  readonly node: string
  readonly unit: string
  readonly instance: string
  readonly stream: string
  readonly seq: number
  readonly line: string
  readonly replica: number
  readonly pid: number | null
  /** `trace`, `debug`, `info`, `warn`, `error` or `fatal`; null when the line does not tell. */
  readonly level: string | null
  /** The text of a structured line. */
  readonly message: string | null
}

const UTF8 = new TextDecoder()

export function logShape(given: LogLine): LogShape {
  const { time, node, unit, instance, stream, seq, line, replica, pid, level, message } = given
  return {
    time: rfc3339(time),
    node,
    unit,
    instance,
    stream,
    seq: Number(seq),
    line: UTF8.decode(line),
    replica,
    pid: pid === 0 ? null : pid,
    level: level === '' ? null : level,
    message: message ?? null,
  }
}
