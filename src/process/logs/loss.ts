import type { Log } from '../../base/log.ts'
import type { NewEvent } from '../causes.ts'

export interface LossSeams {
  readonly log: Log
  /** Writes an event about the unit down. */
  readonly tell: (event: Pick<NewEvent, 'type' | 'reason' | 'details'>) => void
}

/** Lines of one replica that could not be stored. It is told when that begins and, with their number, when it is over. */
export interface Loss {
  /** Lines were lost in this time of loss and are counted. */
  readonly isOn: boolean
  add(lines: number, cause: string): void
  /** Lines are stored again. */
  over(): void
}

export function createLoss({ log, tell }: LossSeams, replica: number): Loss {
  let isOn = false
  let lost = 0
  return {
    get isOn() {
      return isOn
    },
    add(lines, cause) {
      lost += lines
      if (isOn) return
      isOn = true
      log.warn('log lines cannot be stored and are dropped', { replica, cause })
      const reason = `lines of replica ${replica} cannot be stored and are dropped: ${cause}`
      tell({ type: 'unit.logs_lost', reason, details: { replica: String(replica), cause } })
    },
    over() {
      if (!isOn) return
      log.info('log lines are stored again', { replica, lost })
      const reason = `lines of replica ${replica} are stored again; ${lost} were lost`
      tell({ type: 'unit.logs_kept', reason, details: { replica: String(replica), lost: String(lost) } })
      isOn = false
      lost = 0
    },
  }
}
