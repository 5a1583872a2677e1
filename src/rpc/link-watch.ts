import type { Clock } from '../base/clock.ts'

/** A link as far as it is watched. */
export interface WatchedLink {
  /** It takes no more calls, or none at all. */
  readonly closed: boolean
  readonly destroyed: boolean
  once(event: 'close', listener: () => void): unknown
  ping(answered: () => void): unknown
  destroy(): unknown
}

/** A host that loses power says nothing: after at most 3 s + 2 s its calls fail instead of hanging. */
const PING_INTERVAL_MS = 3_000

/** In several rounds: when it is this process that was held up, at most one of them is lost. */
const PING_ROUND_MS = 500
const PING_ROUNDS = 4

/**
 * Pings the other side of a link until it is closed, or `stopped` aborts, and ends a link that is silent.
 * `beforePing` is called each time.
 */
export async function watchLink(
  clock: Clock,
  session: WatchedLink,
  beforePing: () => void,
  stopped: AbortSignal,
): Promise<void> {
  const over = new AbortController()
  const end = (): void => over.abort()
  session.once('close', end)
  stopped.addEventListener('abort', end)
  // Its 'close' may have come before anybody listened.
  while (!session.destroyed && (await slept(clock, PING_INTERVAL_MS, over.signal))) {
    beforePing()
    if (!(await answersPing(clock, session, over.signal))) session.destroy()
  }
  stopped.removeEventListener('abort', end)
}

async function answersPing(clock: Clock, session: WatchedLink, over: AbortSignal): Promise<boolean> {
  // A connection that is being closed takes no pings, but the other side was there to say so.
  if (session.closed || session.destroyed) return true
  const answer = { come: false }
  session.ping(() => {
    answer.come = true
  })
  for (let round = 0; round < PING_ROUNDS && !answer.come; round += 1) {
    if (!(await slept(clock, PING_ROUND_MS, over))) return true
  }
  return answer.come
}

/** False when the sleep was cut short. */
function slept(clock: Clock, ms: number, signal: AbortSignal): Promise<boolean> {
  return clock.sleep(ms, signal).then(
    () => !signal.aborted,
    () => false,
  )
}
