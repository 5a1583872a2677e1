import type { Clock } from '../../base/clock.ts'
import type { Log } from '../../base/log.ts'
import { type Guests, type Joined, joinProtocol, serveGuest } from '../../rpc/index.ts'
import type { Invite, Invites } from './invites.ts'
import { formatGift, type Gift } from './gift.ts'

export interface GuestSeams {
  readonly clock: Clock
  readonly log: Log
  readonly invites: Invites
  /** What a guest gets; undefined while this node is in no mesh. */
  readonly gift: () => Gift | undefined
  /** Something that people should know of: `type` is that of an event. */
  readonly tell: (type: string, reason: string, details: Readonly<Record<string, string>>) => void
}

/** How many guests are served at once; more are sent away. */
const MAX_GUESTS = 8

/** Hosts that were invited fetch the mesh key at the link port. Whoever has no code cannot tell whether there is an invitation. */
export function createGuests({ clock, log, invites, gift, tell }: GuestSeams): Guests {
  let present = 0

  const inviteFor = (protocol: string) => invites.open().find(({ secret }) => joinProtocol(secret) === protocol)

  const give = (invite: Invite): Uint8Array | undefined => {
    const given = gift()
    return given !== undefined && invites.use(invite) ? formatGift(given) : undefined
  }

  function ended(invite: Invite, how: Joined, from: string): void {
    if (how === 'given') {
      log.info('mesh key given to an invited host', { from })
      tell('mesh.key-given', 'invited', { from })
    } else if (how === 'no proof') {
      const over = invites.failed(invite)
      log.warn('a host that came for an invitation could not show its code', { from, invitationOver: over })
      if (over) tell('mesh.invite-ended', 'too many attempts that did not show its code', { from })
    }
  }

  return {
    protocolOf: (offered) => offered.find((protocol) => inviteFor(protocol) !== undefined),

    async take(socket, protocol) {
      const invite = inviteFor(protocol)
      const from = socket.remoteAddress?.replace(/^::ffff:/, '') ?? 'unknown'
      if (invite === undefined || present >= MAX_GUESTS) {
        socket.destroy()
        return
      }
      present += 1
      try {
        ended(invite, await serveGuest(clock, socket, invite.secret, () => give(invite)), from)
      } finally {
        present -= 1
      }
    },

    remote: {
      open: () => invites.open().map(({ secret }) => ({ protocol: joinProtocol(secret), secret })),
      onChange: (listener) => invites.changes.subscribe(listener),
      give(protocol) {
        const invite = inviteFor(protocol)
        return invite === undefined ? undefined : give(invite)
      },
      ended(protocol, how, from) {
        const invite = inviteFor(protocol)
        if (invite !== undefined || how === 'given') ended(invite ?? USED_UP, how, from)
      },
    },
  }
}

/** One whose last use was that very guest. */
const USED_UP: Invite = { secret: new Uint8Array(), expiresAtMs: 0, usesLeft: 0, failuresLeft: 0 }
