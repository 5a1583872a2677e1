/** Frames that cost us work and bring no call forward, before a connection is ended for them. */
const MAX_FRAMES = 2_000

/** What a frame that carries something makes up for. */
const EARNED = 2

/** What each look at the connection makes up for, so that a connection may idle for as long as it likes. */
const EARNED_PER_SWEEP = 500

/**
 * Tells a flood from a conversation: SETTINGS, PING, PRIORITY, WINDOW_UPDATE, RST_STREAM, empty DATA and frames that nobody knows are
 * free as long as messages and calls come with them, or time passes between them.
 */
export class FrameBudget {
  #left = MAX_FRAMES

  /** False when it was one too many. */
  spend(): boolean {
    this.#left -= 1
    return this.#left >= 0
  }

  /** A message went either way, or a call was opened. */
  earn(): void {
    if (this.#left < MAX_FRAMES) this.#left += EARNED
  }

  swept(): void {
    this.#left = Math.min(MAX_FRAMES, this.#left + EARNED_PER_SWEEP)
  }
}
