import type { Clock } from '../../base/clock.ts'
import type { Log } from '../../base/log.ts'
import { type Guests, joinProtocol, serveGuest } from '../../rpc/index.ts'
import type { Invites } from './invites.ts'
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

  return {
    protocolOf: (offered) => offered.find((protocol) => inviteFor(protocol) !== undefined),

    async take(socket, protocol) {
      const invite = inviteFor(protocol)
      const { remoteAddress: from = 'unknown' } = socket
      if (invite === undefined || present >= MAX_GUESTS) {
        socket.destroy()
        return
      }
      present += 1
      try {
        const give = (): Uint8Array | undefined => {
          const given = gift()
          return given !== undefined && invites.use(invite) ? formatGift(given) : undefined
        }
        const how = await serveGuest(clock, socket, invite.secret, give)
        if (how === 'given') {
          log.info('mesh key given to an invited host', { from })
          tell('mesh.key-given', 'invited', { from })
        } else if (how === 'no proof') {
          const over = invites.failed(invite)
          log.warn('a host that came for an invitation could not show its code', { from, invitationOver: over })
          if (over) tell('mesh.invite-ended', 'too many attempts that did not show its code', { from })
        }
      } finally {
        present -= 1
      }
    },
  }
}
