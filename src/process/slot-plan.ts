import { launchHash, type UnitSpec } from './launch.ts'
import { maySleep } from './sleep-terms.ts'
import type { SlotRecord } from './slot-record.ts'
import type { UnitState } from './unit-state.ts'

/**
 * How a slot goes on with what an earlier node left of it. `afresh`: nothing runs, and the start is decided anew.
 * `take over`: a process may run. `want up`: it was down and is to be started. `change over`: its description is another
 * now. `wait`: it waits as it did.
 */
export type Resumption = 'afresh' | 'take over' | 'want up' | 'change over' | 'wait'

/** `goesOn`: the node before stopped a moment ago, so that what was down stays so. */
export function resumptionOf(
  record: SlotRecord,
  { config, ...spec }: UnitSpec,
  { bootId, goesOn }: { readonly bootId: string; readonly goesOn: boolean },
): Resumption {
  if (isOver(record, bootId)) return 'afresh'
  if (mayRun(record)) return 'take over'
  if (record.asleep === true) return maySleep(config, record.replica) ? 'wait' : 'want up'
  if (record.phase === 'down') {
    const isRevived = !goesOn && config.restart.policy === 'always' && config.activation !== 'manual'
    return record.want === 'up' || isRevived ? 'want up' : 'wait'
  }
  return record.launchHash === launchHash({ config, ...spec }) ? 'wait' : 'change over'
}

/** Whether all that a slot ran has ended: the node stopped in good order, or the machine was started anew. */
export function isOver({ closed, bootId }: SlotRecord, presentBootId: string): boolean {
  return closed || bootId !== presentBootId
}

/** Whether a process may belong to a slot that was written down like this. */
export function mayRun({ phase }: SlotRecord): boolean {
  return phase === 'starting' || phase === 'up' || phase === 'stopping'
}

/** What is wanted of a slot of which nothing runs when the node starts. */
export function freshWish(
  { config }: UnitSpec,
  replica: number,
  record: Pick<SlotRecord, 'want' | 'asleep'> | undefined,
): 'up' | 'down' | 'asleep' {
  const isHeld = record?.want === 'down' && record.asleep !== true && config.restart.policy === 'unless-stopped'
  if (isHeld || config.activation === 'manual') return 'down'
  return config.activation === 'on-call' && maySleep(config, replica) ? 'asleep' : 'up'
}

/** Whether nothing will happen any more by itself to a slot without an instance. */
export function isAtRest({ phase, want, waitMs }: UnitState): boolean {
  return phase === 'completed' || (phase === 'failed' ? waitMs === undefined : phase === 'down' && want === 'down')
}

/**
 * What has become of the process of that generation: '' = it serves, else why it does not and will not soon; undefined while
 * that is not known.
 */
export function servingVerdict(state: UnitState, generation: number, isClosing: boolean): string | undefined {
  const { phase, want, ready, reason } = state
  if (isClosing) return 'it is being ended'
  // It did, and nobody needs it any more.
  if (state.asleep) return ''
  if (want === 'down') return 'it was stopped'
  if (phase === 'up' && ready && state.generation >= generation) return ''
  const isOver = phase === 'backoff' || phase === 'failed' || phase === 'completed'
  return isOver ? `it is ${phase}${reason === '' ? '' : `: ${reason}`}` : undefined
}

/** Whether it is known what became of a start of this generation: it is on its way, waits, or failed. */
export function isDecided(state: UnitState, generation: number, hasRun: boolean): boolean {
  const { phase, want, reason } = state
  if (phase === 'starting' || phase === 'up') return hasRun && state.generation >= generation
  if (phase === 'down') return want === 'down' || reason !== ''
  return phase !== 'stopping'
}
