import type { Asker } from '../process/index.ts'
import type { CallContext } from '../rpc/index.ts'

/** Metadata by which a client of the control API says who asks, percent-encoded. Advisory: the socket's mode is what protects. */
export const ACTOR_KEY = 'hsu-actor'

/** Longer than any name of a user and a program together. */
const MAX_ACTOR_CHARS = 120

/** Who calls the control API. */
export function askerOf(context: Pick<CallContext, 'metadata'>): Asker {
  return { actor: actorOf(context) }
}

/** In words: as the caller says of itself, or that it does not. */
function actorOf({ metadata }: Pick<CallContext, 'metadata'>): string {
  const given = decoded(metadata(ACTOR_KEY) ?? '')
  const plain = given.replace(/[\p{C}\s]+/gu, ' ').trim()
  return plain === '' ? 'somebody through the control API' : plain.slice(0, MAX_ACTOR_CHARS)
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
