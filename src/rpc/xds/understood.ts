import { HsuError } from '../../base/error.ts'
import { TooMuchError } from './ads-session.ts'
import { WireError } from './wire.ts'

/** Takes in a message. @throws HsuError, with which the call ends, for what a client should not have sent */
export function understood(takeIn: () => void): void {
  try {
    takeIn()
  } catch (thrown) {
    if (thrown instanceof WireError) throw new HsuError('USAGE', `not such a message: ${thrown.message}`)
    if (thrown instanceof TooMuchError) throw new HsuError('LIMIT_EXCEEDED', thrown.message)
    throw thrown
  }
}
