import type { HsuError } from '../base/error.ts'
import type { HeaderBlock } from './header-fields.ts'
import type { LinkTarget } from './link-pool.ts'

/** Where one attempt of a call goes. */
export interface Target {
  readonly to:
    | { readonly kind: 'local'; readonly address: string }
    | { readonly kind: 'link'; readonly link: LinkTarget }
  /** Names it in messages: `instance 'echo-0-1a2b3c'`. */
  readonly label: string
  /** Whose calls in flight this one is counted among; undefined for what is not an instance. */
  readonly instance: string | undefined
  /** Header fields to add; the routing fields of the caller are always taken off. */
  readonly add: Readonly<Record<string, string>>
  /** Time the call may take when its caller set no deadline. */
  readonly timeoutMs: number | undefined
}

/** Why an attempt came to nothing. Whatever the kind, no unit has seen anything of the call. */
export interface Miss {
  /** `unreachable`: no connection. `refused`: the other side took none of it (REFUSED_STREAM, or beyond its GOAWAY). */
  readonly kind: 'unreachable' | 'refused'
  readonly error: HsuError
}

/** Where one call may go, one target after another. */
export interface Targets {
  /**
   * The first target, or after `missed` the next one; undefined when there is no other, so that the miss is the answer.
   * May wait, for a unit that is being started, until `signal` aborts.
   *
   * @throws HsuError the answer to the call
   */
  next(missed: Miss | undefined, signal: AbortSignal): Target | undefined | Promise<Target | undefined>
}

/** Who sent a call: the node at the other end of a link, undefined for a process on this host. */
export interface Caller {
  readonly nodeId: string | undefined
  /** SHA-256 of its certificate. */
  readonly fingerprint: string | undefined
}

/** Decides where a call goes by its header alone. @throws HsuError the answer to the call */
export type Route = (head: HeaderBlock, caller: Caller) => Targets

/** Attempts at the one place there is, when it refuses: its connection was closing, and the next one is new. */
const SAME_PLACE_ATTEMPTS = 3

/** A call that can go to one place only. */
export function onlyTarget(target: Target): Targets {
  let attempts = 0
  return {
    next(missed) {
      attempts += 1
      return missed?.kind === 'unreachable' || attempts > SAME_PLACE_ATTEMPTS ? undefined : target
    },
  }
}
