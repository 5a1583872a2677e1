import { connect, type Socket, type NetConnectOpts } from 'node:net'
import { systemCode } from '../../../base/error.ts'
import type { LogLine } from '../query.ts'
import type { Sink } from './destination.ts'

/**
 * A receiver that takes nothing is waited for: what it has not read yet lies in the two systems' buffers, and a new
 * connection would lose that if it is gone, and double it if it is not.
 */
const TIMEOUT_MS = 60_000

/**
 * Lines as one stream over TCP or a unix socket. Syslog acknowledges nothing: lines count as sent when the system took
 * them, and what is in its buffers when a connection breaks is lost.
 */
export function streamSink(target: NetConnectOpts, frames: (lines: readonly LogLine[]) => Buffer): Sink {
  let open: Socket | undefined
  const close = (): void => {
    open?.destroy()
    open = undefined
  }

  async function connected(signal: AbortSignal): Promise<Socket> {
    if (open !== undefined) return open
    const socket = connect(target)
    open = socket
    socket.unref()
    socket.setKeepAlive(true)
    // Nothing is expected from there, but its end.
    socket.resume()
    socket.on('error', () => undefined)
    socket.once('close', () => {
      if (open === socket) open = undefined
    })
    await settled(socket, signal, (done) => socket.once('connect', () => done()))
    return socket
  }

  return {
    timeoutMs: TIMEOUT_MS,
    close,
    async send(lines, signal) {
      try {
        const socket = await connected(signal)
        await settled(socket, signal, (done) => socket.write(frames(lines), done))
        return undefined
      } catch (error) {
        close()
        throw systemCode(error) === 'EPROTOTYPE'
          ? new Error('it is a datagram socket, which Node.js cannot open; let the server listen on udp or tcp', {
              cause: error,
            })
          : error
      }
    },
  }
}

/** Resolves when `begin` says so. Rejects when the connection ends before, or `signal` aborts. */
function settled(
  socket: Socket,
  signal: AbortSignal,
  begin: (done: (error?: Error | null) => void) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const ended = (): void => settle(new Error('the connection was closed'))
    const aborted = (): void => settle(signal.reason as Error)
    const settle = (error?: Error | null): void => {
      socket.off('error', settle)
      socket.off('close', ended)
      signal.removeEventListener('abort', aborted)
      if (error === undefined || error === null) resolve()
      else reject(error)
    }
    socket.once('error', settle)
    socket.once('close', ended)
    signal.addEventListener('abort', aborted)
    if (signal.aborted) aborted()
    else begin(settle)
  })
}
