import { messageOf, systemCode } from '../../base/error.ts'
import { isHandshakeFailure } from './tracked-peer.ts'

/** What the codes of the operating system mean for whoever wants to know why an address does not answer. */
const BY_CODE: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'the host is there, and nothing listens on that port (connection refused)',
  EHOSTUNREACH: 'no host answers at that address',
  ENETUNREACH: 'this host has no route to that address',
  EADDRNOTAVAIL: 'this host has no address from which that one can be reached',
  EACCES: 'a firewall of this host forbids it',
  EPERM: 'a firewall of this host forbids it',
  ENOTFOUND: 'the name means nothing to the name server (DNS)',
  EAI_AGAIN: 'the name cannot be looked up, for no name server answers (DNS)',
}

const NO_ANSWER = 'no answer: no host is there, a firewall drops what is sent to it, or what listens there says nothing'
const NO_MEMBER = 'something answers that is no node with this mesh key: it has another key, or is another program'

/** Why a dial failed, in words for the person who wrote the address down. */
export function dialFault(error: unknown): string {
  const parts: readonly unknown[] = error instanceof AggregateError ? error.errors : [error]
  return [...new Set(parts.map(faultOf))].join('; ')
}

function faultOf(error: unknown): string {
  if (isHandshakeFailure(error) || isHangUp(error)) return NO_MEMBER
  const words = BY_CODE[systemCode(error) ?? '']
  if (words !== undefined) return words
  return isTimeout(error) ? NO_ANSWER : messageOf(error)
}

/** It took the connection and ended it while the two were to say who they are. */
function isHangUp(error: unknown): boolean {
  return systemCode(error) === 'ECONNRESET' || (error instanceof Error && error.name === 'HandshakeCutError')
}

function isTimeout(error: unknown): boolean {
  if (systemCode(error) === 'ETIMEDOUT') return true
  return error instanceof Error && /^(Abort|Timeout)Error$|^EncryptionFailedError$/.test(error.name)
}
