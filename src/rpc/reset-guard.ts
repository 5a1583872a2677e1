/** Streams after which one connection is judged. */
const MIN_STREAMS = 500

/** Beyond this, old streams count half, so that a connection is judged by what it did lately. */
const MAX_STREAMS = 2_000

/** A stream that was open for longer was not opened only to be reset: its caller gave up, or its deadline passed. */
const MAX_OPEN_MS = 1_000

/**
 * Finds connections that open streams only to reset them (rapid reset, CVE-2023-44487): more than half of at least
 * 500 streams reset before any answer, as Envoy judges it (overload.premature_reset_total_stream_count).
 */
export interface ResetGuard {
  opened(): void
  /** Takes note of a stream that the client reset before any answer; true when the connection should be ended. */
  reset(openForMs: number): boolean
}

export function createResetGuard(): ResetGuard {
  let streams = 0
  let resets = 0
  return {
    opened() {
      streams += 1
      if (streams <= MAX_STREAMS) return
      streams /= 2
      resets /= 2
    },
    reset(openForMs) {
      if (openForMs > MAX_OPEN_MS) return false
      resets += 1
      return streams >= MIN_STREAMS && resets * 2 > streams
    },
  }
}
