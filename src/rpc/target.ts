import type { HsuError } from '../base/error.ts'
import type { Field } from './h2/field.ts'
import type { CallLimits } from './router/call-limits.ts'
import type { HedgeTerms } from './router/hedging.ts'

/** How to reach another node's link, as its signed node record has it. */
export interface LinkTarget {
  readonly nodeId: string
  /** `host:port`, the best first. */
  readonly addresses: readonly string[]
  /** SHA-256 of its certificate (DER) in lower-case hexadecimal digits. */
  readonly fingerprint: string
  /** Of those that it may show as well; no others are accepted. */
  readonly further?: readonly string[]
}

/** Where one attempt of a call goes. */
export interface Target {
  readonly to:
    | { readonly kind: 'local'; readonly address: string }
    | { readonly kind: 'link'; readonly link: LinkTarget }
  /** Names it in messages: `instance 'echo-0-1a2b3c'`. */
  readonly label: string
  /** The unit it is an instance of. */
  readonly unit?: string | undefined
  /** Whose calls in flight this one is counted among; undefined for what is not an instance. */
  readonly instance: string | undefined
  /** Fields to add; the routing fields of the caller are always taken off. */
  readonly add: readonly Field[]
  /** Time the call may take when its caller set no deadline. */
  readonly timeoutMs: number | undefined
  /** The call may be sent to others as well. */
  readonly hedging?: HedgeTerms | undefined
}

/** Why an attempt came to nothing. Except for `failed`, no unit has seen anything of the call. */
export interface Miss {
  /**
   * `unreachable`: no connection. `refused`: the other side took none of it (REFUSED_STREAM, or beyond its GOAWAY). `failed`: a
   * unit may have seen it, and said that it is not available, or its connection broke; only for calls that may be repeated.
   */
  readonly kind: 'unreachable' | 'refused' | 'failed'
  readonly error: HsuError
  /** When the unit asks to be tried again, in ms. */
  readonly pushbackMs?: number | undefined
}

/** How a unit dealt with a call, as far as it tells how the unit is. */
export type CallOutcome = 'answered' | 'failed'

/** Who sent a call: the node at the other end of a link, undefined for a process on this host. */
export interface Caller {
  readonly nodeId: string | undefined
  /** SHA-256 of its certificate. */
  readonly fingerprint: string | undefined
  /** `host:port` of a process; left out when it calls over a unix socket. */
  readonly address?: string
}

/** What a router may look at. */
export interface CallHead {
  readonly path: string
  readonly authority: string | undefined
  /** False when the call names neither unit nor node, instance or version. */
  readonly steered: boolean
  /** The fields that hold path and authority; the same object each time as long as its connection has it in its table. */
  readonly pathField: Field | undefined
  readonly authorityField: Field | undefined
  /** The first value of a field. */
  text(name: string): string | undefined
}

/** A call that is looking for its way. */
export interface RoutedCall {
  readonly head: CallHead
  readonly caller: Caller
  /** Where it went last; undefined before the first attempt. */
  readonly target: Target | undefined
  /** What the router keeps of the attempts so far. */
  trail: object | undefined
  /** Where it is counted, against the limits of its unit. */
  limits: CallLimits | undefined
  /** Aborts when nobody waits for an answer any more. */
  readonly signal: AbortSignal
}

/** Decides where calls go. */
export interface Router {
  /**
   * The first target of a call, or after `missed` the next one; undefined when there is no other, so that the miss is the
   * answer. May wait, for a unit that is being started, until the call's signal aborts.
   *
   * @throws HsuError the answer to the call
   */
  next(call: RoutedCall, missed: Miss | undefined): Target | undefined | Promise<Target | undefined>
  /** The unit of the call's target has answered it, or will not. */
  ended?(call: RoutedCall, outcome: CallOutcome): void
  /** Whether a call that a unit may have seen may go to another one; when it may, that is the next thing to happen. */
  mayRepeat?(call: RoutedCall): boolean
  /** Where else to send a call that waits for its answer; undefined when there is nowhere, or no budget for it. */
  hedge?(call: RoutedCall): Target | undefined
}

/** Attempts at the one place there is, when it refuses: its connection was closing, and the next one is new. */
const SAME_PLACE_ATTEMPTS = 3

/** For calls that can go to one place only. */
export function onePlace(placeOf: (call: RoutedCall) => Target): Router {
  return {
    next(call, missed) {
      if (missed === undefined) return placeOf(call)
      const trail = (call.trail ?? { attempts: 1 }) as { readonly attempts: number }
      call.trail = { attempts: trail.attempts + 1 }
      return missed.kind === 'unreachable' || trail.attempts >= SAME_PLACE_ATTEMPTS ? undefined : call.target
    },
  }
}
