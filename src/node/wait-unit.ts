import { withSignal } from '../base/abort.ts'
import { type Clock, TIMED_OUT, within } from '../base/clock.ts'
import { HsuError } from '../base/error.ts'
import { type InstanceStatus, isRunBeside, type Supervisor } from '../process/index.ts'

const CONDITIONS = ['ready', 'up', 'down', 'completed', 'failed'] as const
export type WaitCondition = (typeof CONDITIONS)[number]

export function isWaitCondition(text: string): text is WaitCondition {
  return (CONDITIONS as readonly string[]).includes(text)
}

/** Whether a unit, seen as its instance slots, meets a condition: all of them must, for `failed` one is enough. */
function meets(instances: readonly InstanceStatus[], condition: WaitCondition): boolean {
  switch (condition) {
    case 'ready':
      return instances.length > 0 && instances.every(({ ready }) => ready)
    case 'up':
      return instances.length > 0 && instances.every(({ state }) => state === 'up')
    case 'down':
      return instances.every(({ pid }) => pid === undefined)
    case 'completed':
      return instances.length > 0 && instances.every(({ state }) => state === 'completed')
    case 'failed':
      return instances.some(({ state }) => state === 'failed')
  }
}

export interface WaitRequest {
  readonly unit: string
  readonly condition: WaitCondition
  readonly timeoutMs: number
}

/**
 * Resolves when the unit meets the condition.
 *
 * @throws HsuError TIMED_OUT; UNIT_FAILED when it failed while something better was waited for.
 */
export async function waitForUnit(
  { clock, supervisor }: { readonly clock: Clock; readonly supervisor: Pick<Supervisor, 'status' | 'changes'> },
  { unit, condition, timeoutMs }: WaitRequest,
  outer: AbortSignal,
): Promise<void> {
  const instances = (): InstanceStatus[] =>
    supervisor.status().filter((status) => status.unit === unit && !isRunBeside(status.replica))
  const hopeless = (): InstanceStatus | undefined =>
    condition === 'failed' || condition === 'down' ? undefined : instances().find(({ state }) => state === 'failed')

  const outcome = await withSignal(outer, (signal) => {
    const met = new Promise<InstanceStatus | undefined>((resolve, reject) => {
      const look = (): void => {
        const failed = hopeless()
        if (!meets(instances(), condition) && failed === undefined) return
        unsubscribe()
        resolve(failed)
      }
      const unsubscribe = supervisor.changes.subscribe(look)
      signal.addEventListener('abort', () => {
        unsubscribe()
        reject(new HsuError('CANCELLED', 'the caller gave up'))
      })
      look()
    })
    return within(clock, timeoutMs, met)
  })
  if (outcome === TIMED_OUT) {
    const states = instances().map(({ state, reason }) => (reason === '' ? state : `${state}: ${reason}`))
    throw new HsuError('TIMED_OUT', `unit '${unit}' is not ${condition} after ${timeoutMs} ms (${states.join('; ')})`, {
      details: { unit, condition },
    })
  }
  if (outcome !== undefined) {
    throw new HsuError('UNIT_FAILED', `unit '${unit}' failed: ${outcome.reason}`, { details: { unit, condition } })
  }
}
