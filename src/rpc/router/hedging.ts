/** How a call may be sent to several instances at once (gRFC A6, hedgingPolicy). */
export interface HedgeTerms {
  /** With the first one. */
  readonly attempts: number
  /** After which the next attempt is sent, when no answer has come. */
  readonly delayMs: number
  /** Statuses after which the other attempts go on, by number. */
  readonly nonFatal: ReadonlySet<number>
}

/** How far the attempts of one call are. */
export interface HedgeState {
  readonly sent: number
  /** Of them, those that have neither answered nor failed. */
  readonly running: number
  /** No further one is sent: a unit asked for that, or the budget, or there is nobody left to be asked. */
  readonly closed: boolean
}

/** What follows from what one attempt came to. */
export type HedgeStep =
  /** It is the answer; all others are cancelled. */
  | { readonly do: 'answer' }
  /** Others go on. */
  | { readonly do: 'wait' }
  /** The next one is sent, so much later; those that run go on. */
  | { readonly do: 'send'; readonly afterMs: number }

/** The state before anything is sent is not told: hedging begins with the first attempt. */
export const FIRST_ATTEMPT: HedgeState = { sent: 1, running: 1, closed: false }

export function attemptSent({ sent, running, closed }: HedgeState): HedgeState {
  return { sent: sent + 1, running: running + 1, closed }
}

export function mayHedge({ sent, closed }: HedgeState, { attempts }: HedgeTerms): boolean {
  return !closed && sent < attempts
}

/**
 * An attempt ended with a status and nothing else. `pushback`: when the unit wants to be asked again, in ms, or `never`. With a status
 * that is not fatal the next attempt is sent at once, or when the unit says; `never` ends sending (gRFC A6, server pushback).
 */
export function afterStatus(
  state: HedgeState,
  terms: HedgeTerms,
  status: number | undefined,
  pushback: number | 'never' | undefined,
): { readonly state: HedgeState; readonly step: HedgeStep } {
  const running = state.running - 1
  const isFatal = status === undefined || !terms.nonFatal.has(status)
  if (isFatal) return { state: { ...state, running, closed: true }, step: { do: 'answer' } }
  const next = { ...state, running, closed: state.closed || pushback === 'never' }
  if (mayHedge(next, terms)) {
    return { state: next, step: { do: 'send', afterMs: typeof pushback === 'number' ? pushback : 0 } }
  }
  return { state: next, step: running > 0 ? { do: 'wait' } : { do: 'answer' } }
}
