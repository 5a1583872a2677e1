import type { InstanceStatus } from './status.ts'

/** What is remembered of one dependency of one unit. */
export interface Tie {
  /** The instances that were as far as they must be when last looked at. */
  readonly met: ReadonlySet<string>
  /** It had what it depends on, and has it no more. */
  readonly isLost: boolean
}

export type TieChange = 'lost' | 'back'

export const NEW_TIE: Tie = { met: new Set(), isLost: false }

/**
 * What becomes of a tie with the instances that meet its terms now. It is lost when none of those that met them does so any more,
 * so that a replacement is a loss though news of it came as one change: then it is lost and back at once.
 */
export function retie({ met, isLost }: Tie, meeting: readonly string[]): { tie: Tie; changes: readonly TieChange[] } {
  const loses = !isLost && met.size > 0 && !meeting.some((instance) => met.has(instance))
  const returns = (isLost || loses) && meeting.length > 0
  const tie = { met: new Set(meeting), isLost: (isLost || loses) && !returns }
  return { tie, changes: [...(loses ? (['lost'] as const) : []), ...(returns ? (['back'] as const) : [])] }
}

/** The tie of one that has what it depends on. */
export function tiedTo(instances: readonly string[]): Tie {
  return { met: new Set(instances), isLost: false }
}

/** The slot runs, or is on its way. */
export function isOn({ want, state }: InstanceStatus): boolean {
  return want === 'up' && (state === 'starting' || state === 'up')
}

/** The slot has, or will have without being asked, a process that needs what its unit depends on. */
export function needsIt(status: InstanceStatus): boolean {
  const { want, state, retryAtMs } = status
  if (isOn(status)) return true
  return (
    want === 'up' && (state === 'stopping' || state === 'backoff' || (state === 'failed' && retryAtMs !== undefined))
  )
}
