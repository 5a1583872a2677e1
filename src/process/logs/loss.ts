import type { Clock } from '../../base/clock.ts'
import type { Log } from '../../base/log.ts'
import type { NewEvent } from '../causes.ts'
import type { Stream } from './record.ts'

/** A disk that is just full takes a short line now and then: only after such a time without a loss is it over. */
const CALM_MS = 2_000

export interface LossSeams {
  readonly clock: Clock
  readonly log: Log
  /** Writes an event about the unit down. */
  readonly tell: (event: Pick<NewEvent, 'type' | 'reason' | 'details'>) => void
}

/** What is lost, in words. */
export interface LossWords {
  /** Such as `lines of replica 0`. */
  readonly what: string
  readonly begins: string
  readonly ends: string
  /** What is counted, and under which name that is in the details of an event. */
  readonly unit: 'lines' | 'bytes'
  readonly key: 'lost' | 'bytes'
  readonly details: Readonly<Record<string, string>>
}

export function linesLost(replica: number): LossWords {
  return {
    what: `lines of replica ${replica}`,
    begins: 'cannot be stored and are dropped',
    ends: 'are stored again',
    unit: 'lines',
    key: 'lost',
    details: { replica: String(replica) },
  }
}

export function rawOutputLost(replica: number, stream: Stream): LossWords {
  return {
    what: `raw output of replica ${replica}`,
    begins: 'is dropped',
    ends: 'is read in time again',
    unit: 'bytes',
    key: 'bytes',
    details: { replica: String(replica), stream },
  }
}

/** Output that could not be kept. It is told when that begins and, with how much it was, when it is over. */
export interface Loss {
  /** Something was lost in this time of loss and is counted. */
  readonly isOn: boolean
  add(amount: number, cause: string): void
  /** Output was stored. */
  stored(): void
  /** Nothing more will come: what was lost is told now. */
  end(): void
}

export function createLoss({ clock, log, tell }: LossSeams, words: LossWords): Loss {
  const { what, begins, ends, unit, key, details } = words
  let isOn = false
  let lost = 0
  let lastMs = 0

  function over(how: string): void {
    if (!isOn) return
    log.info('loss of output is over', { ...details, [key]: lost })
    const reason = `${what} ${how}; ${lost} ${unit} were lost`
    tell({ type: 'unit.logs_kept', reason, details: { ...details, [key]: String(lost) } })
    isOn = false
    lost = 0
  }

  return {
    get isOn() {
      return isOn
    },
    add(amount, cause) {
      lost += amount
      lastMs = clock.nowMs()
      if (isOn) return
      isOn = true
      log.warn('output is lost', { ...details, cause, [key]: amount })
      tell({ type: 'unit.logs_lost', reason: `${what} ${begins}: ${cause}`, details: { ...details, cause } })
    },
    stored() {
      if (clock.nowMs() - lastMs >= CALM_MS) over(ends)
    },
    end: () => over('came to an end'),
  }
}
