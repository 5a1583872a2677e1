import type { Clock } from '../../../base/clock.ts'
import type { Log } from '../../../base/log.ts'
import type { NewEvent } from '../../causes.ts'
import type { Output } from '../../output.ts'
import type { Position } from './position.ts'
import type { Patience, Sender } from './sender.ts'

/** How long the last lines may take once the end is wanted. What is not sent by then is sent by the next node. */
const GRACE_MS = 2_000
/** A destination that is too slow loses lines again and again, which is told so often at most. */
const TELL_EVERY_MS = 60_000

export interface ForwarderSeams {
  readonly clock: Clock
  readonly log: Log
  readonly output: Pick<Output, 'batches'>
  readonly tell: (event: NewEvent) => void
  readonly sender: Sender
  readonly position: Position
}

/**
 * Sends the lines of a unit to one destination. The log on the disk is the queue: lines are read as fast as they are taken,
 * and what rotation deletes before is counted and told. So a destination, however slow, costs the unit and its log nothing.
 */
export class Forwarder {
  readonly #seams: ForwarderSeams
  readonly #unit: string
  readonly #url: string
  #missing = 0
  #refused = 0
  #why = ''
  #toldAtMs = -Infinity

  constructor(seams: ForwarderSeams, unit: string, url: string) {
    this.#seams = seams
    this.#unit = unit
    this.#url = url
  }

  /** Resolves once `stop` aborts and the last lines are sent, or cannot be. */
  async run(stop: AbortSignal): Promise<void> {
    const { clock, position } = this.#seams
    const now = new AbortController()
    const hurry = (): void => {
      clock.sleep(GRACE_MS, now.signal).then(
        () => now.abort(),
        () => undefined,
      )
    }
    stop.addEventListener('abort', hurry)
    if (stop.aborted) hurry()
    // Lets a new destination begin where it was asked for, whatever happens before its first line.
    await position.save(true)
    try {
      await this.#pass(true, stop, { stop, now: now.signal })
      await this.#pass(false, now.signal, { stop, now: now.signal })
    } catch (error) {
      if (!stop.aborted) throw error
    } finally {
      stop.removeEventListener('abort', hurry)
      now.abort()
      this.#report(true)
      await position.save(true)
    }
  }

  async #pass(follow: boolean, end: AbortSignal, patience: Patience): Promise<void> {
    const { output, sender, position } = this.#seams
    for await (const lines of output.batches(position.query(this.#unit, follow), end)) {
      if (lines.length === 0) continue
      this.#missing += position.missingBefore(lines)
      const refused = await sender.send(lines, patience)
      position.note(lines)
      this.#refused += refused?.lines ?? 0
      this.#why = refused?.why ?? this.#why
      this.#report(false)
      await position.save()
    }
  }

  /** Tells what is lost, unless it told so a moment ago. */
  #report(surely: boolean): void {
    const { clock, log, tell } = this.#seams
    const lost = this.#missing + this.#refused
    if (lost === 0 || (!surely && clock.nowMs() - this.#toldAtMs < TELL_EVERY_MS)) return
    const why = [
      ...(this.#missing === 0 ? [] : [`${this.#missing} were deleted before it took them, or never stored`]),
      ...(this.#refused === 0 ? [] : [`${this.#refused} were refused: ${this.#why}`]),
    ].join('; ')
    log.warn('lines were not forwarded', { lost, why })
    const details = { destination: this.#url, lost: String(lost) }
    const reason = `${lost} lines were not forwarded to ${this.#url}: ${why}`
    tell({ unit: this.#unit, instance: '', type: 'unit.logs_lost', reason, details, cause: '' })
    this.#missing = 0
    this.#refused = 0
    this.#toldAtMs = clock.nowMs()
  }
}
