import { HsuError } from '../../base/error.ts'
import { formatDurationMs } from '../../base/quantity.ts'
import { type InstanceStatus, isRunBeside } from '../../process/index.ts'

/**
 * How a unit of this node stands towards calls. `asleep`: a call starts it. `waking`: on its way up, or soon again after it has
 * served. `awake`: an instance is ready. `draining`: on its way down. `off`: it is down, or waits, for a reason that a call does not
 * overrule.
 */
export type WakeState = 'awake' | 'waking' | 'asleep' | 'draining' | 'off'

/** The replicas of a unit, without its runs as a job. */
export function replicasOf(unit: string, statuses: readonly InstanceStatus[]): readonly InstanceStatus[] {
  return statuses.filter((status) => status.unit === unit && !isRunBeside(status.replica))
}

/** How long calls wait for a unit, and whether they start it. */
export interface Patience {
  readonly sleeps: boolean
  readonly holdMs: number
  readonly wallMs: number
}

export function wakeStateOf(replicas: readonly InstanceStatus[], { sleeps, ...patience }: Patience): WakeState {
  if (replicas.some(({ ready, state }) => ready && state === 'up')) return 'awake'
  if (replicas.some((status) => isComing(status) || isBackSoon(status, patience))) return 'waking'
  if (replicas.some(({ state }) => state === 'asleep' || (sleeps && state === 'completed'))) return 'asleep'
  return replicas.some(({ state }) => state === 'stopping') ? 'draining' : 'off'
}

/** On its way up, or waiting for what it depends on. */
function isComing({ state, want }: InstanceStatus): boolean {
  return state === 'starting' || state === 'up' || (want === 'up' && (state === 'stopping' || state === 'down'))
}

/** Its restart comes while the call waits. One that crashed again, or without ever having been ready, is not waited for. */
function isBackSoon(
  { recovers = false, retryAtMs }: InstanceStatus,
  { holdMs, wallMs }: Pick<Patience, 'holdMs' | 'wallMs'>,
): boolean {
  return recovers && retryAtMs !== undefined && retryAtMs - wallMs < holdMs
}

/** Why a call cannot wake a unit: how it is, and when it is tried again by itself. */
export function refusalOf(unit: string, replicas: readonly InstanceStatus[], wallMs: number): HsuError {
  const [worst] = replicas
  const { state = 'down', reason = '', retryAtMs } = worst ?? {}
  const retryInMs = retryAtMs === undefined ? undefined : Math.max(0, Math.round(retryAtMs - wallMs))
  const why = worst === undefined ? 'it has no replicas' : `it is ${state}${reason === '' ? '' : `: ${reason}`}`
  const next =
    retryInMs === undefined ? `it stays so until 'hsu start ${unit}'` : `next try in ${formatDurationMs(retryInMs)}`
  const details = { unit, state, reason, ...(retryInMs === undefined ? {} : { retryInMs }) }
  return new HsuError('WAKE_FAILED', `unit '${unit}' does not take calls: ${why}; ${next}`, { details })
}
