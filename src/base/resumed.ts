import type { Clock } from './clock.ts'

export interface ResumedOptions {
  readonly clock: Clock
  /** Ends it. */
  readonly signal: AbortSignal | undefined
  /** Whether the stream was interrupted; any other error is thrown. `seen` = it has given something before. */
  readonly isBreak: (error: unknown, seen: boolean) => boolean
  /** Called once for each time that the stream breaks, however many tries it takes to open it again. */
  readonly onBreak: (error: unknown) => void
  /** Rest before try `attempt` (1 = the first). */
  readonly restMs: (attempt: number) => number
  /** So long it is tried again; undefined = for ever. */
  readonly withinMs?: number
}

/** A stream that is opened again when it breaks; where it goes on is up to `open`. */
export async function* resumed<T>(open: () => AsyncIterable<T>, options: ResumedOptions): AsyncGenerator<T> {
  const { clock, signal, isBreak, onBreak, restMs, withinMs = Infinity } = options
  let seen = false
  let attempts = 0
  let brokenAtMs = 0
  for (;;) {
    try {
      for await (const item of open()) {
        seen = true
        attempts = 0
        yield item
      }
      return
    } catch (error) {
      if (signal?.aborted === true || !isBreak(error, seen)) throw error
      if (attempts === 0) {
        brokenAtMs = clock.nowMs()
        onBreak(error)
      } else if (clock.nowMs() - brokenAtMs > withinMs) throw error
    }
    attempts += 1
    await clock.sleep(restMs(attempts), signal)
  }
}
