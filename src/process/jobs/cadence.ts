import { HsuError, messageOf } from '../../base/error.ts'
import { dateOf } from '../../base/system-date.ts'

/** The moments of a cron expression, in ms since the epoch. */
export interface Cadence {
  /** The first one after this moment; undefined when none ever comes. */
  next(afterMs: number): number | undefined
  /** The latest one at or before this moment. */
  last(untilMs: number): number | undefined
}

/** Every real expression has a moment in here: 29 February on a certain day of the week comes every 28 years, or 40. */
const EPOCH_MS = 0

/** Cron expressions know whole seconds. */
const SECOND_MS = 1_000

/** Loaded when a unit has a schedule. */
let croner: Promise<typeof import('croner')> | undefined

/**
 * Understands a cron expression of five fields, or six with seconds in front. `croner` is loaded here, so that only
 * nodes with a schedule pay for it. In a time zone that changes its clocks, a fixed time that is left out comes at the
 * end of the gap, and one that comes twice is taken the first time; intervals go on through both.
 *
 * @throws HsuError `CONFIG_INVALID` in words that follow the expression
 */
export async function readCadence(cron: string, timezone: string | undefined): Promise<Cadence> {
  const { Cron } = await (croner ??= import('croner'))
  const zone = timezone === undefined ? {} : { timezone }
  try {
    if (!/^@|\s/.test(cron.trim())) throw new Error('has one field')
    const pattern = new Cron(cron, { ...zone, paused: true, mode: '5-or-6-parts' })
    const cadence: Cadence = {
      next: (afterMs) => pattern.nextRun(dateOf(afterMs))?.getTime(),
      last: (untilMs) =>
        pattern.previousRuns(1, dateOf(Math.floor(untilMs / SECOND_MS) * SECOND_MS + SECOND_MS))[0]?.getTime(),
    }
    if (cadence.next(EPOCH_MS) === undefined) throw new Error('names a day that never comes')
    return cadence
  } catch (cause) {
    throw new HsuError('CONFIG_INVALID', `'${cron}' is not a cron expression: ${wordsOf(cause)}`, { cause })
  }
}

const SHAPE = 'write five fields: minute, hour, day of month, month, day of week, such as "0 2 * * *"'

function wordsOf(thrown: unknown): string {
  const text = messageOf(thrown).replace(/^Cron\w+: /, '')
  if (/parts|one field/.test(text)) return SHAPE
  return text.replace(/[.\s]+$/, '').replace(/^[A-Z]/, (letter) => letter.toLowerCase())
}
