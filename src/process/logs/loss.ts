import type { Clock } from '../../base/clock.ts'
import type { Log } from '../../base/log.ts'
import type { NewEvent } from '../causes.ts'

/** A disk that is just full takes a short line now and then: only after such a time without a loss is it over. */
const CALM_MS = 2_000

export interface LossSeams {
  readonly clock: Clock
  readonly log: Log
  /** Writes an event about the unit down. */
  readonly tell: (event: Pick<NewEvent, 'type' | 'reason' | 'details'>) => void
}

/** Lines of one replica that could not be stored. It is told when that begins and, with their number, when it is over. */
export interface Loss {
  /** Lines were lost in this time of loss and are counted. */
  readonly isOn: boolean
  add(lines: number, cause: string): void
  /** Lines were stored. */
  stored(): void
}

export function createLoss({ clock, log, tell }: LossSeams, replica: number): Loss {
  let isOn = false
  let lost = 0
  let lastMs = 0
  return {
    get isOn() {
      return isOn
    },
    add(lines, cause) {
      lost += lines
      lastMs = clock.nowMs()
      if (isOn) return
      isOn = true
      log.warn('log lines cannot be stored and are dropped', { replica, cause })
      const reason = `lines of replica ${replica} cannot be stored and are dropped: ${cause}`
      tell({ type: 'unit.logs_lost', reason, details: { replica: String(replica), cause } })
    },
    stored() {
      if (!isOn || clock.nowMs() - lastMs < CALM_MS) return
      log.info('log lines are stored again', { replica, lost })
      const reason = `lines of replica ${replica} are stored again; ${lost} were lost`
      tell({ type: 'unit.logs_kept', reason, details: { replica: String(replica), lost: String(lost) } })
      isOn = false
      lost = 0
    },
  }
}
