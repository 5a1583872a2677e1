import { monitorEventLoopDelay } from 'node:perf_hooks'

/** How often the delay is sampled; each sample is one timer. */
const RESOLUTION_MS = 50

/** How late this process's event loop is. A node that is late itself must not call others dead. */
export interface LoopDelay {
  /** The longest delay since the last call, in milliseconds; 0 when the loop ran on time. */
  takeMs(): number
  close(): void
}

export function systemLoopDelay(): LoopDelay {
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  histogram.enable()
  return {
    takeMs() {
      const worstMs = histogram.max / 1e6 - RESOLUTION_MS
      histogram.reset()
      return Math.max(0, worstMs)
    },
    close: () => void histogram.disable(),
  }
}
