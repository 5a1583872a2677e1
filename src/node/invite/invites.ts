import type { Clock } from '../../base/clock.ts'
import { HsuError } from '../../base/error.ts'
import { createTopic } from '../../base/topic.ts'
import { newSecret } from './invite-code.ts'

/** An invitation that is open. */
export interface Invite {
  readonly secret: Uint8Array
  readonly expiresAtMs: number
  usesLeft: number
  failuresLeft: number
}

/** The most invitations that are open at once. */
const MAX_OPEN = 16

/** After so many attempts that did not show the code an invitation is over: its code is being guessed, or is garbled. */
const MAX_FAILURES = 5

/** The open invitations of this node; they end with it. */
export class Invites {
  readonly #clock: Clock
  /** There are others than before. */
  readonly changes = createTopic<undefined>()
  readonly #open = new Set<Invite>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** @throws HsuError LIMIT_EXCEEDED when 16 are open */
  create(ttlMs: number, uses: number): Invite {
    if (this.open().length >= MAX_OPEN) {
      throw new HsuError('LIMIT_EXCEEDED', `${MAX_OPEN} invitations are open; wait until some have ended`)
    }
    const expiresAtMs = this.#clock.nowMs() + ttlMs
    const invite: Invite = { secret: newSecret(), expiresAtMs, usesLeft: uses, failuresLeft: MAX_FAILURES }
    this.#open.add(invite)
    this.changes.publish(undefined)
    return invite
  }

  /** Those that are good now. */
  open(): readonly Invite[] {
    for (const invite of this.#open) if (isOver(invite, this.#clock.nowMs())) this.#open.delete(invite)
    return [...this.#open]
  }

  /** Takes one use; false when it is over by now. */
  use(invite: Invite): boolean {
    if (!this.open().includes(invite)) return false
    invite.usesLeft -= 1
    this.changes.publish(undefined)
    return true
  }

  /** Somebody failed to show the code; whether the invitation is over because of it. */
  failed(invite: Invite): boolean {
    invite.failuresLeft -= 1
    this.changes.publish(undefined)
    return !this.open().includes(invite)
  }
}

function isOver({ expiresAtMs, usesLeft, failuresLeft }: Invite, nowMs: number): boolean {
  return nowMs >= expiresAtMs || usesLeft <= 0 || failuresLeft <= 0
}
