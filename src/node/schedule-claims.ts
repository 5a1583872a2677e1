import type { Clock } from '../base/clock.ts'
import type { Registration, ScheduleClaim } from '../mesh/index.ts'
import { type Claim, isBelievable, newerClaim, type ScheduleMesh, type SharedSchedule } from '../process/index.ts'
import { isReachable, type WorldView } from './world-view.ts'

/** How long the others may take to acknowledge a claim before the run begins all the same. */
const CLAIM_MS = 1_000

/** How long after its start a node does not yet know who else is there. */
const SETTLE_MS = 5_000

export interface ScheduleClaimsSeams {
  readonly clock: Clock
  readonly nodeId: string
  readonly world: Pick<WorldView, 'members' | 'registrationsOf' | 'changes'>
  /** What this node says of a schedule has become another: registers it anew. */
  readonly changed: () => void
  /** Resolves when the others have heard what this node registers, or after the time. */
  readonly flushed: (timeoutMs: number) => Promise<void>
  /** Stops a unit of another node. */
  readonly stopUnit: (nodeId: string, unit: string, signal: AbortSignal) => Promise<void>
}

type OwnClaim = Claim & { readonly schedule: string }

/** Schedules that nodes share: what this node says of them in its registrations, and what the others say. */
export interface ScheduleClaims extends ScheduleMesh {
  /** What is registered with the runs of a unit; undefined when it has no schedule that is shared. */
  claimOf(unit: string): OwnClaim | undefined
  /** To be called once all parts are there. */
  begin(): void
}

export function createScheduleClaims(seams: ScheduleClaimsSeams): ScheduleClaims {
  const { clock, nodeId, world, changed, flushed, stopUnit } = seams
  const settledAtMs = clock.nowMs() + SETTLE_MS
  const own = new Map<string, OwnClaim>()

  function put(unit: string, claim: OwnClaim): void {
    if (JSON.stringify(own.get(unit)) === JSON.stringify(claim)) return
    own.set(unit, claim)
    changed()
  }

  /** What the other nodes that have this schedule say of it. */
  function others(unit: string, schedule: string): readonly (readonly [node: string, claim: ScheduleClaim])[] {
    const isOfIt = ({ schedule: claim, ...registration }: Registration): boolean =>
      registration.unit === unit && claim?.schedule === schedule
    return world.members().flatMap((member) => {
      if (member.self || !isReachable(member)) return []
      const claim = world.registrationsOf(member.nodeId).find(isOfIt)?.schedule
      return claim === undefined ? [] : [[member.nodeId, claim] as const]
    })
  }

  /** A claim on a moment that is far from now, by our clock, counts as none. */
  function believed({ tickMs, by }: Claim): Claim {
    return isBelievable(tickMs, clock.wallMs()) ? { tickMs, by } : { tickMs: 0, by: '' }
  }

  /** What one node said is passed on by all, so that it is known when that node is gone. */
  function passOn(): void {
    for (const [unit, known] of own) {
      const newest = others(unit, known.schedule)
        .map(([, claim]) => believed(claim))
        .reduce(newerClaim, believed(known))
      put(unit, { schedule: known.schedule, ...newest })
    }
  }

  return {
    begin: () => void world.changes.subscribe(passOn),
    claimOf: (unit) => own.get(unit),
    announce: (unit, schedule, handledMs) => put(unit, { schedule, tickMs: handledMs, by: '' }),
    withdraw(unit) {
      if (own.delete(unit)) changed()
    },
    look(unit, schedule): SharedSchedule {
      const elsewhere = others(unit, schedule)
      return {
        self: nodeId,
        claims: new Map([
          [nodeId, believed(own.get(unit) ?? { tickMs: 0, by: '' })],
          ...elsewhere.map(([node, claim]) => [node, believed(claim)] as const),
        ]),
        busyElsewhere: elsewhere.reduce((sum, [, { active }]) => sum + active, 0),
        settlesInMs: Math.max(0, settledAtMs - clock.nowMs()),
      }
    },
    async claim(unit, schedule, tickMs) {
      put(unit, { schedule, tickMs, by: nodeId })
      await flushed(CLAIM_MS)
    },
    async stopElsewhere(unit, signal) {
      const { schedule = '' } = own.get(unit) ?? {}
      const busy = others(unit, schedule).filter(([, { active }]) => active > 0)
      await Promise.all(busy.map(([node]) => stopUnit(node, unit, signal)))
    },
  }
}
