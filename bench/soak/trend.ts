/** One reading at one moment. */
export interface Point {
  readonly x: number
  readonly y: number
}

/** A straight line through readings. */
export interface Trend {
  /** What `y` gains for each unit of `x`. */
  readonly slope: number
  /** The true slope is within so much of it, at 95 %; NaN with fewer than 4 points. */
  readonly within: number
}

/** Of a normal distribution, 95 % are within so many standard deviations. */
const NORMAL_95 = 1.96

/**
 * The line with the least squares. Readings of memory that follow each other are alike, and say less than as many that do not: the
 * interval is that of fewer readings, as many as would say as much (Santer et al. 2000, for a first-order autoregression).
 */
export function trendOf(points: readonly Point[]): Trend {
  const count = points.length
  if (count < 2) return { slope: 0, within: Number.NaN }
  const meanX = mean(points.map(({ x }) => x))
  const meanY = mean(points.map(({ y }) => y))
  const spread = sum(points.map(({ x }) => (x - meanX) ** 2))
  const slope = sum(points.map(({ x, y }) => (x - meanX) * (y - meanY))) / spread
  const rests = points.map(({ x, y }) => y - meanY - slope * (x - meanX))
  const squares = sum(rests.map((rest) => rest ** 2))
  if (count < 4 || squares === 0) return { slope, within: count < 4 ? Number.NaN : 0 }
  const neighbours = sum(rests.slice(1).map((rest, at) => rest * (rests[at] ?? 0))) / squares
  const alike = Math.min(0.98, Math.max(0, neighbours))
  const independent = Math.max(3, (count * (1 - alike)) / (1 + alike))
  return { slope, within: NORMAL_95 * Math.sqrt(squares / (independent - 2) / spread) }
}

function mean(values: readonly number[]): number {
  return sum(values) / values.length
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
