import type { SharedSchedule } from './turn.ts'

/** What a supervisor needs of other nodes for schedules that they share (`scope: mesh`). */
export interface ScheduleMesh {
  /** This node has the schedule from now on, and knows that moments up to `handledMs` are dealt with; 0 = of none. */
  announce(unit: string, schedule: string, handledMs: number): void
  /** This node does not have it any more. */
  withdraw(unit: string): void
  look(unit: string, schedule: string): SharedSchedule
  /** Says that this node takes up a moment; resolves when the others have heard, or soon. */
  claim(unit: string, schedule: string, tickMs: number): Promise<void>
  /** Stops the runs of the unit on other nodes. @throws HsuError when one of them does not answer */
  stopElsewhere(unit: string, signal: AbortSignal): Promise<void>
}

/** The whole mesh of a node that is alone. */
export function aloneSchedules(): ScheduleMesh {
  const own = { tickMs: 0, by: '' }
  return {
    announce: () => undefined,
    withdraw: () => undefined,
    look: () => ({ self: 'self', claims: new Map([['self', own]]), busyElsewhere: 0, settlesInMs: 0 }),
    claim: async () => undefined,
    stopElsewhere: async () => undefined,
  }
}
