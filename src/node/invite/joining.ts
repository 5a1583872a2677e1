import { type Clock } from '../../base/clock.ts'
import { HsuError } from '../../base/error.ts'
import { askAsGuest } from '../../rpc/index.ts'
import { type Gift, parseGift } from './gift.ts'
import { parseInvite } from './invite-code.ts'

/**
 * Fetches what an invitation gives, from `address`, else from where the code leads.
 *
 * @throws HsuError USAGE for what is no code, NODE_UNREACHABLE, NOT_PERMITTED when the code leads to nothing (any more).
 */
export async function joinByInvite(
  clock: Clock,
  code: string,
  address: string | undefined,
  signal: AbortSignal,
): Promise<Gift> {
  const { secret, addresses } = parseInvite(code)
  const places = address === undefined ? addresses : [address]
  let fault = new HsuError('USAGE', 'the code names no address; give that of the inviting node, host:port')
  for (const place of places) {
    try {
      return parseGift(await askAsGuest(clock, place, secret, signal))
    } catch (error) {
      signal.throwIfAborted()
      fault = HsuError.from(error)
      if (fault.reason !== 'NODE_UNREACHABLE') throw fault
    }
  }
  throw fault
}
