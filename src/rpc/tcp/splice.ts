import type { Socket } from 'node:net'

/** A connection whose other end is gone without a word is noticed by the kernel's keepalive, begun after this. */
const KEEPALIVE_MS = 60_000

/**
 * Passes bytes between two connections until both directions have ended. An end in one direction is passed on alone, so that
 * the other may go on; a connection that breaks resets the other. What one side does not take, the other is not read for.
 */
export function splice(one: Socket, other: Socket): void {
  for (const socket of [one, other]) {
    socket.setNoDelay(true)
    socket.setKeepAlive(true, KEEPALIVE_MS)
  }
  pass(one, other)
  pass(other, one)
}

function pass(from: Socket, to: Socket): void {
  from.on('error', () => undefined) // 'close' follows
  from.once('close', (broken) => {
    if (to.destroyed || (!broken && from.readableEnded && from.writableFinished)) return
    to.resetAndDestroy()
  })
  if (from.destroyed) to.resetAndDestroy()
  else from.pipe(to)
}
