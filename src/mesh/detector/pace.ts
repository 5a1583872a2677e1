/** How many times slower than the preset a network may be taken for. Beyond that, slow and gone are not told apart. */
const MAX_PACE = 6

/** The weight of one answer in the mean and in the deviation from it (RFC 6298 §2). */
const MEAN_WEIGHT = 1 / 8
const DEVIATION_WEIGHT = 1 / 4
const DEVIATIONS = 4

/** How much of the slowest answer is left after one more: on a line that loses frames, slow ones come now and then. */
const PEAK_DECAY = 0.97

/** What is assumed as long as nobody has answered, and of a slow member until it has answered this often. */
const UNSURE_PACE = 3
const SURE_ANSWERS = 10

/** A mean of more than this part of the ping timeout is slow. */
const SLOW_PART = 1 / 4

/** The most members that are kept; beyond it the one that was added first makes room. */
const MAX_KEPT = 10_000

interface Measured {
  readonly meanMs: number
  readonly deviationMs: number
  readonly peakMs: number
  readonly answers: number
}

/**
 * How slow the network is beside what the preset expects, from the time that answers to pings took. On a line with 10 % loss
 * and 50 ms of delay a tenth of all answers take three times as long as the rest, for TCP sends again what was lost.
 */
export interface Pace {
  /** What was asked at `askedAtMs` (monotonic clock) was answered after `ms`, in time or not. */
  note(nodeId: string, ms: number, askedAtMs?: number): void
  /** Nothing is known of the member any more. */
  forget(nodeId: string): void
  /**
   * The member was dead and is back at `atMs`: what it was asked before then counts no more. It was frozen or cut off, and the
   * time that it was says nothing of the network.
   */
  renew(nodeId: string, atMs: number): void
  /**
   * 1 = no slower than the preset expects, up to 6: what timeouts and suspicions of a member are multiplied by. Of a member that
   * answered nothing yet, and of one that is fast among slow ones, that of the median member counts.
   *
   *     max(mean + 4 * deviation, slowest lately) / pingTimeoutMs
   *
   * At least 3 before anybody answered, and of a member with a slow mean for its first ten answers: they say too little. The
   * slowest of those ten is not held against it for longer than the mean and the deviation do: it was starting then.
   */
  of(nodeId: string): number
}

/** A slow node on a slow network waits this many times longer at most: with more, one that is alone would never notice. */
const MAX_PATIENCE = 8

/** What the timeouts of pings to a member are multiplied by: for what the node itself is slow, and the network. */
export function patience(multiplier: number, pace: number): number {
  return Math.min(MAX_PATIENCE, multiplier * pace)
}

/** @param pingTimeoutMs how long an answer may take on the network that the preset is for */
export function createPace(pingTimeoutMs: number): Pace {
  const measured = new Map<string, Measured>()
  const renewedAtMs = new Map<string, number>()
  let medianPace: number | undefined

  function paceOf(known: Measured): number {
    const isUnsure = known.answers < SURE_ANSWERS && known.meanMs > SLOW_PART * pingTimeoutMs
    const slowMs = Math.max(known.meanMs + DEVIATIONS * known.deviationMs, known.peakMs)
    return Math.min(MAX_PACE, Math.max(isUnsure ? UNSURE_PACE : 1, slowMs / pingTimeoutMs))
  }

  function median(): number {
    const all = [...measured.values()].map(paceOf).sort((one, other) => one - other)
    return all[Math.floor((all.length - 1) / 2)] ?? UNSURE_PACE
  }

  function forget(nodeId: string): void {
    renewedAtMs.delete(nodeId)
    if (measured.delete(nodeId)) medianPace = undefined
  }

  return {
    note(nodeId, ms, askedAtMs = Infinity) {
      if (askedAtMs < (renewedAtMs.get(nodeId) ?? -Infinity)) return
      medianPace = undefined
      measured.set(nodeId, withAnswer(measured.get(nodeId), ms))
      keepFew(measured)
    },
    forget,
    renew(nodeId, atMs) {
      forget(nodeId)
      renewedAtMs.set(nodeId, atMs)
      keepFew(renewedAtMs)
    },
    of(nodeId) {
      medianPace ??= median()
      const known = measured.get(nodeId)
      return known === undefined ? medianPace : Math.max(medianPace, paceOf(known))
    },
  }
}

function withAnswer(known: Measured | undefined, ms: number): Measured {
  if (known === undefined) return { meanMs: ms, deviationMs: ms / 2, peakMs: 0, answers: 1 }
  const { meanMs, deviationMs, peakMs, answers } = known
  return {
    meanMs: meanMs + MEAN_WEIGHT * (ms - meanMs),
    deviationMs: deviationMs + DEVIATION_WEIGHT * (Math.abs(ms - meanMs) - deviationMs),
    peakMs: answers < SURE_ANSWERS ? 0 : Math.max(ms, peakMs * PEAK_DECAY),
    answers: answers + 1,
  }
}

function keepFew(map: Map<string, unknown>): void {
  const [first] = map.keys()
  if (map.size > MAX_KEPT && first !== undefined) map.delete(first)
}
