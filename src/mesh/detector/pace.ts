/** How many times slower than the preset a network may be taken for. Beyond that, slow and gone are not told apart. */
const MAX_PACE = 6

/** The weight of one answer in the mean and in the deviation from it (RFC 6298 §2). */
const MEAN_WEIGHT = 1 / 8
const DEVIATION_WEIGHT = 1 / 4
const DEVIATIONS = 4

/** How much of the slowest answer is left after one more: on a line that loses frames, slow ones come now and then. */
const PEAK_DECAY = 0.97

/** The most members that are kept; beyond it the one that was added first makes room. */
const MAX_KEPT = 10_000

interface Measured {
  readonly meanMs: number
  readonly deviationMs: number
  readonly peakMs: number
}

/**
 * How slow the network is beside what the preset expects, from the time that answers to pings took. On a line with 10 % loss
 * and 50 ms of delay a tenth of all answers take three times as long as the rest, for TCP sends again what was lost.
 */
export interface Pace {
  /** A ping was answered after `ms`, in time or not. */
  note(nodeId: string, ms: number): void
  /** Nothing is known of the member any more. */
  forget(nodeId: string): void
  /**
   * 1 = no slower than the preset expects, up to 6: what timeouts and suspicions of a member are multiplied by. Of a member that
   * answered nothing yet, and of one that is fast among slow ones, that of the median member counts.
   *
   *     max(mean + 4 * deviation, slowest lately) / pingTimeoutMs
   */
  of(nodeId: string): number
}

/** @param pingTimeoutMs how long an answer may take on the network that the preset is for */
export function createPace(pingTimeoutMs: number): Pace {
  const measured = new Map<string, Measured>()
  let medianPace: number | undefined

  function paceOf(known: Measured | undefined): number {
    if (known === undefined) return 1
    const slowMs = Math.max(known.meanMs + DEVIATIONS * known.deviationMs, known.peakMs)
    return Math.min(MAX_PACE, Math.max(1, slowMs / pingTimeoutMs))
  }

  function median(): number {
    const all = [...measured.values()].map(paceOf).sort((one, other) => one - other)
    return all[Math.floor((all.length - 1) / 2)] ?? 1
  }

  return {
    note(nodeId, ms) {
      medianPace = undefined
      measured.set(nodeId, withAnswer(measured.get(nodeId), ms))
      const [first] = measured.keys()
      if (measured.size > MAX_KEPT && first !== undefined) measured.delete(first)
    },
    forget(nodeId) {
      if (measured.delete(nodeId)) medianPace = undefined
    },
    of(nodeId) {
      medianPace ??= median()
      return Math.max(medianPace, paceOf(measured.get(nodeId)))
    },
  }
}

function withAnswer(known: Measured | undefined, ms: number): Measured {
  if (known === undefined) return { meanMs: ms, deviationMs: ms / 2, peakMs: ms }
  const { meanMs, deviationMs, peakMs } = known
  return {
    meanMs: meanMs + MEAN_WEIGHT * (ms - meanMs),
    deviationMs: deviationMs + DEVIATION_WEIGHT * (Math.abs(ms - meanMs) - deviationMs),
    peakMs: Math.max(ms, peakMs * PEAK_DECAY),
  }
}
