import { HsuError } from '../../base/error.ts'
import type { Clock } from '../../base/clock.ts'
import type { Asker, Supervisor } from '../../process/index.ts'
import { type Patience, refusalOf, replicasOf, wakeStateOf } from './wake-state.ts'

export interface WakerSeams {
  readonly clock: Clock
  readonly supervisor: Pick<Supervisor, 'status' | 'changes' | 'wakeUnit' | 'startUnit'>
  /** How long those who need a unit wait for it, in ms, and whether they start it. */
  readonly patienceOf: (unit: string) => Omit<Patience, 'wallMs'>
}

/** Who wants a unit to be awake. */
export interface Wish {
  readonly asker: Asker
  /** It is for a call, which starts nothing that a person has stopped, or that has failed. */
  readonly forCall: boolean
}

/** Wakes units of this node. */
export interface Waker {
  /**
   * Resolves when the unit has a ready instance; starts it when it sleeps.
   *
   * @throws HsuError `WAKE_FAILED` when it does not start, or a call is not to start it; the signal's reason
   */
  wake(unit: string, wish: Wish, signal: AbortSignal): Promise<void>
}

export function createWaker({ clock, supervisor, patienceOf }: WakerSeams): Waker {
  return {
    async wake(unit, { asker, forCall }, signal) {
      const replicas = () => replicasOf(unit, supervisor.status())
      const state = () => wakeStateOf(replicas(), { ...patienceOf(unit), wallMs: clock.wallMs() })
      const failed = (cause: unknown): never => {
        signal.throwIfAborted()
        const error = HsuError.from(cause)
        if (error.reason !== 'SPAWN_FAILED' && error.reason !== 'UNIT_FAILED') throw error
        const refusal = refusalOf(unit, replicas(), clock.wallMs())
        throw new HsuError(refusal.reason, refusal.message, { details: refusal.details, cause })
      }
      if (!forCall && state() === 'off') await supervisor.startUnit(unit, signal, asker).catch(failed)
      for (;;) {
        signal.throwIfAborted()
        switch (state()) {
          case 'awake':
            return
          case 'asleep':
            await supervisor.wakeUnit(unit, signal, asker).catch(failed)
            // Of one that is about to be removed nothing is started.
            if (state() === 'asleep') break
            continue
          case 'draining':
          case 'waking':
            break
          case 'off':
            throw refusalOf(unit, replicas(), clock.wallMs())
        }
        await changeOf(unit, supervisor, signal)
      }
    },
  }
}

/** Resolves with the next change of the unit. @throws the signal's reason */
function changeOf(unit: string, { changes }: Pick<Supervisor, 'changes'>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (done: () => void) => (): void => {
      unsubscribe()
      signal.removeEventListener('abort', giveUp)
      done()
    }
    const giveUp = settle(() => reject(signal.reason as Error))
    const changed = settle(resolve)
    const unsubscribe = changes.subscribe((status) => {
      if (status.unit === unit) changed()
    })
    signal.addEventListener('abort', giveUp)
  })
}
