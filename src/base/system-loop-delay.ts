import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks'

/** How late the event loop of this process comes to its timers. */
export interface LoopDelay {
  readonly meanMs: number
  readonly p99Ms: number
  readonly maxMs: number
}

/** Finer would cost a node that idles more than all else it does. */
const RESOLUTION_MS = 50

/**
 * Watches the event loop from the first question on, because watching costs a timer each `resolutionMs`. Each answer is about
 * the time since the one before; the first is 0.
 */
export function systemLoopDelay(resolutionMs = RESOLUTION_MS): { read(): LoopDelay; stop(): void } {
  /** The histogram holds whole intervals, in ns. */
  const lateMs = (intervalNs: number): number => Math.max(0, intervalNs / 1e6 - resolutionMs)

  let histogram: IntervalHistogram | undefined
  return {
    read() {
      if (histogram === undefined || histogram.count === 0) {
        histogram ??= monitorEventLoopDelay({ resolution: resolutionMs })
        histogram.enable()
        return { meanMs: 0, p99Ms: 0, maxMs: 0 }
      }
      const { mean, max } = histogram
      const delay = { meanMs: lateMs(mean), p99Ms: lateMs(histogram.percentile(99)), maxMs: lateMs(max) }
      histogram.reset()
      return delay
    },
    stop: () => void histogram?.disable(),
  }
}
