import { createSocket, type Socket } from 'node:dgram'
import { lookup } from 'node:dns/promises'
import type { LogLine } from '../query.ts'
import type { Sink } from './destination.ts'

const TIMEOUT_MS = 10_000

/**
 * Each line a datagram. Nobody tells whether it arrives; only when the host says that nobody listens there, by ICMP, what
 * follows is tried again.
 */
export function udpSink({ host, port }: { host: string; port: number }, message: (line: LogLine) => Buffer): Sink {
  let open: Socket | undefined
  /** What came back after a datagram was sent. */
  let fault: Error | undefined
  const close = (): void => {
    open?.close()
    open = undefined
  }

  async function connected(): Promise<Socket> {
    if (open !== undefined) return open
    const { address, family } = await lookup(host)
    const socket = createSocket(family === 6 ? 'udp6' : 'udp4')
    // Not to be waited for when the process ends.
    socket.unref()
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject)
      socket.connect(port, address, () => {
        socket.off('error', reject)
        resolve()
      })
    }).catch((error: unknown) => {
      socket.close()
      throw error
    })
    socket.on('error', (error) => {
      fault = error
    })
    open = socket
    return socket
  }

  return {
    timeoutMs: TIMEOUT_MS,
    close,
    async send(lines, signal) {
      const socket = await connected()
      for (const line of lines) {
        signal.throwIfAborted()
        if (fault !== undefined) break
        await new Promise<void>((resolve, reject) => {
          socket.send(message(line), (error) => (error === null ? resolve() : reject(error)))
        })
      }
      const refused = fault
      fault = undefined
      if (refused !== undefined) throw refused
      return undefined
    },
  }
}
