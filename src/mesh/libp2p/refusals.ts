/** How long after a warning the same host is not warned about again. */
const SILENCE_MS = 600_000

/** Two failures within this time are no accident. */
const WINDOW_MS = 300_000

/** How many hosts are remembered; the oldest make room. */
const MAX_ADDRESSES = 256

interface Record {
  readonly failedAtMs: number
  readonly warnedAtMs: number | undefined
}

/** Decides when a failed handshake is worth a warning: once for each host in ten minutes, never for a lone accident. */
export class Refusals {
  readonly #records = new Map<string, Record>()

  /**
   * Notes a failed handshake with the host at `address`; true when it is time to warn.
   *
   * @param certain we saw garbage ourselves; otherwise the other side hung up, which a crash does too, once.
   */
  failed(address: string, certain: boolean, nowMs: number): boolean {
    const before = this.#records.get(address)
    const repeated = before !== undefined && nowMs - before.failedAtMs < WINDOW_MS
    const silent = before?.warnedAtMs !== undefined && nowMs - before.warnedAtMs < SILENCE_MS
    const warns = !silent && (certain || repeated)
    this.#records.delete(address)
    this.#records.set(address, { failedAtMs: nowMs, warnedAtMs: warns ? nowMs : before?.warnedAtMs })
    const oldest = this.#records.keys().next().value
    if (this.#records.size > MAX_ADDRESSES && oldest !== undefined) this.#records.delete(oldest)
    return warns
  }

  /** A handshake with `address` went well: the next failure is news again. */
  succeeded(address: string): void {
    this.#records.delete(address)
  }
}
