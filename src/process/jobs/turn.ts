import { createHash } from 'node:crypto'

/** How long each node waits for the one before it. Longer than it takes to see that a node has died (DESIGN section 10: 2 s). */
export const TAKEOVER_MS = 5_000

/** What a node says about one schedule. */
export interface Claim {
  /** Moments up to this one were taken up by somebody; 0 = none. */
  readonly tickMs: number
  /** The node that took up the last of them; empty when there is none. */
  readonly by: string
}

/** A schedule as the mesh sees it at one moment. */
export interface SharedSchedule {
  /** This node. */
  readonly self: string
  /** The nodes that are alive and have this schedule, and what they say of it; this one included. */
  readonly claims: ReadonlyMap<string, Claim>
  /** Runs of the unit that have not ended, on other nodes. */
  readonly busyElsewhere: number
  /** How long until the view can be trusted: a node that has only just started does not know the others yet. */
  readonly settlesInMs: number
}

export interface TickTimes {
  readonly tickMs: number
  /** When this node noticed that it is due: at once, or when it started after it was missed. */
  readonly noticedMs: number
  readonly nowMs: number
}

/** `taken`: somebody has it. `take`: it is ours. A number: look again after so many ms. */
export type Turn = 'taken' | 'take' | number

/**
 * Whose turn it is to run the moment `tickMs` of a schedule that several nodes have. Without a leader: all rank the
 * nodes for this moment by the same hash (rendezvous hashing, Thaler and Ravishankar 1996), the first takes it up at
 * once and says so, and each further one does after TAKEOVER_MS more if by then nobody has said so.
 */
export function turnOf(unit: string, { tickMs, noticedMs, nowMs }: TickTimes, shared: SharedSchedule): Turn {
  const { self, claims, settlesInMs } = shared
  for (const { tickMs: takenMs } of claims.values()) if (takenMs >= tickMs) return 'taken'
  const order = ranked(unit, tickMs, claims.keys())
  const mayAtMs = noticedMs + Math.max(0, order.indexOf(self)) * TAKEOVER_MS
  const waitMs = Math.max(mayAtMs - nowMs, settlesInMs)
  return waitMs <= 0 ? 'take' : waitMs
}

/** Whether our claim stands after all have been told: of several nodes that made one at once, the first in rank does. */
export function prevails(unit: string, tickMs: number, { self, claims }: SharedSchedule): boolean {
  const rivals = [...claims].filter(([node, claim]) => claim.tickMs === tickMs && claim.by === node && node !== self)
  return ranked(unit, tickMs, [self, ...rivals.map(([node]) => node)])[0] === self
}

/** The newer of two claims; of two about one moment, the first known. */
export function newerClaim(known: Claim, heard: Claim): Claim {
  return heard.tickMs > known.tickMs ? heard : known
}

function ranked(unit: string, tickMs: number, nodes: Iterable<string>): readonly string[] {
  const scored = [...nodes].map((node) => [
    createHash('sha256').update(`${unit}\n${tickMs}\n${node}`).digest('hex'),
    node,
  ])
  return scored.sort(([one = ''], [other = '']) => (one < other ? -1 : 1)).map(([, node = '']) => node)
}
