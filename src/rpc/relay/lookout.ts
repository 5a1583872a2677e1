import type { Turn } from '../../base/turn.ts'

/** Turns of the event loop, of some 2 us each, in which more is looked for. Three times as many gain nothing (measured). */
const LOOKS = 20

/** So many times in a row nothing came in time: it is not worth it ... */
const MAX_MISSED = 8

/** ... save that it is tried again, each time after so many reads. */
const TRY_AGAIN = 32

/**
 * Keeps the event loop from falling asleep for a moment after what was read has been written: with few calls the next thing, the answer of
 * the unit or the next call, often comes before a core has fallen asleep and was woken again, and that costs more than looking. Where that
 * is not so, because units are slow or wait for this very core, it is soon given up.
 */
export class Lookout {
  readonly #turn: Turn
  #left = 0
  #missed = 0
  #skipped = 0
  #looking = false

  constructor(turn: Turn) {
    this.#turn = turn
  }

  /** Something has come. */
  seen(): void {
    if (this.#left > 0) this.#missed = 0
    this.#left = 0
  }

  /** Something more may come soon. */
  begin(): void {
    if (this.#missed >= MAX_MISSED) {
      this.#skipped += 1
      if (this.#skipped < TRY_AGAIN) return
    }
    this.#skipped = 0
    this.#left = LOOKS
    if (this.#looking) return
    this.#looking = true
    this.#turn.soon(this.#look)
  }

  readonly #look = (): void => {
    if (this.#left > 0) {
      this.#left -= 1
      if (this.#left > 0) {
        this.#turn.soon(this.#look)
        return
      }
      this.#missed += 1
    }
    this.#looking = false
  }
}
