/** Something that happened to a unit, a member or the node itself. */
export interface NodeEvent {
  /** Unlike that of any other event of this node; later events have later ids. */
  readonly id: string
  readonly wallMs: number
  readonly node: string
  /** Empty for events of members and of the node. */
  readonly unit: string
  readonly instance: string
  /** Past tense after a dot: `unit.exited`, `member.dead`. */
  readonly type: string
  readonly reason: string
  readonly details: Readonly<Record<string, string>>
  /** What led to it, in words; empty when nothing did. */
  readonly cause: string
  /** Id of the event that led to it; empty when none did, or it is not known. */
  readonly causedBy: string
  /** Who asked for it, in words; empty when nobody did. */
  readonly actor: string
}

export interface EventQuery {
  /** Empty = all, and those of no unit. */
  readonly units: readonly string[]
  readonly follow: boolean
  /** The last N; undefined = all that are kept. */
  readonly tail: number | undefined
  readonly sinceMs: number | undefined
  /** Only those before; absent = up to now. */
  readonly untilMs?: number | undefined
  /** Types, or beginnings of types (`unit.`, `unit.*`); absent or empty = all. */
  readonly types?: readonly string[]
}

/** Every event that is kept. */
export const ALL_EVENTS: EventQuery = { units: [], follow: false, tail: undefined, sinceMs: undefined }

/** Whether an event is one that was asked for. */
export function matcher({ units, types = [], sinceMs, untilMs }: EventQuery): (event: NodeEvent) => boolean {
  const wanted = new Set(units)
  const isOfType = typeMatcher(types)
  return (event) =>
    (wanted.size === 0 || wanted.has(event.unit)) &&
    (sinceMs === undefined || event.wallMs >= sinceMs) &&
    (untilMs === undefined || event.wallMs < untilMs) &&
    isOfType(event.type)
}

function typeMatcher(types: readonly string[]): (type: string) => boolean {
  if (types.length === 0) return () => true
  const exact = new Set(types)
  const beginnings = types.map((type) => type.replace(/[*]$/, '')).filter((type) => type.endsWith('.'))
  return (type) => exact.has(type) || beginnings.some((beginning) => type.startsWith(beginning))
}
