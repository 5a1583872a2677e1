import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { type Clock, TIMED_OUT, within } from '../base/clock.ts'
import { HsuError } from '../base/error.ts'
import { parseAddress } from './address.ts'
import { fingerprintOf, type LinkCertificate } from './link-certificate.ts'
import { beginHttp2, type Dialled, LINK_WINDOWS, LOCAL_WINDOWS } from './upstream-session.ts'

/** Time for the TCP connection to one address; on a LAN it takes milliseconds. */
const CONNECT_TIMEOUT_MS = 1_000

/** Time for TLS and the first SETTINGS: the host is there, but it may be busy. */
const HANDSHAKE_TIMEOUT_MS = 3_000

/** What dialling a link needs. */
export interface LinkDialSeams {
  readonly clock: Clock
  readonly certificate: LinkCertificate
}

/**
 * Connects to the link of a node and checks, before anything of a call is sent, that it is the one we mean.
 * @throws Error why not
 */
export function dialLink(
  { clock, certificate }: LinkDialSeams,
  address: string,
  fingerprint: string,
  signal: AbortSignal,
): Promise<Dialled> {
  const tcp = connectTcp(parseAddress(address))
  return untilAborted(tcp, signal, async () => {
    await event(clock, tcp, 'connect', CONNECT_TIMEOUT_MS)
    const tls = connectTls({
      socket: tcp,
      cert: certificate.certPem,
      key: certificate.keyPem,
      minVersion: 'TLSv1.3',
      ALPNProtocols: ['h2'],
      // There is no CA: the fingerprint below is the whole check.
      rejectUnauthorized: false,
    })
    tls.on('error', ignore)
    await event(clock, tls, 'secureConnect', HANDSHAKE_TIMEOUT_MS)
    checkPeer(tls, fingerprint)
    const session = await beginHttp2(tls, LINK_WINDOWS, clock, HANDSHAKE_TIMEOUT_MS).catch((cause: unknown) => {
      throw new Error('it ended the connection; it may not know this node yet', { cause })
    })
    return { session, socket: tls }
  })
}

/** Connects to `host:port` or `unix:/path` on this host, in plain HTTP/2. @throws Error why not */
export function dialLocal(clock: Clock, address: string, signal: AbortSignal): Promise<Dialled> {
  const socket = connectTcp(parseAddress(address))
  return untilAborted(socket, signal, async () => {
    await event(clock, socket, 'connect', CONNECT_TIMEOUT_MS)
    return { session: await beginHttp2(socket, LOCAL_WINDOWS, clock, HANDSHAKE_TIMEOUT_MS), socket }
  })
}

function checkPeer(tls: TLSSocket, fingerprint: string): void {
  const shown = tls.getPeerX509Certificate()
  if (shown === undefined || fingerprintOf(shown.raw) !== fingerprint) {
    throw new HsuError('NOT_AUTHENTICATED', 'it shows another certificate than the one its node record names')
  }
  if (tls.alpnProtocol !== 'h2') throw new Error('it does not speak HTTP/2')
}

/** Runs `task`; the socket is destroyed when it fails or when `signal` aborts meanwhile. */
async function untilAborted<T>(socket: Socket, signal: AbortSignal, task: () => Promise<T>): Promise<T> {
  const abort = (): void => void socket.destroy()
  socket.on('error', ignore)
  signal.addEventListener('abort', abort)
  if (signal.aborted) abort()
  try {
    return await task()
  } catch (error) {
    socket.destroy()
    throw error
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

async function event(clock: Clock, socket: Socket, name: string, timeoutMs: number): Promise<void> {
  const happened = new Promise<void>((resolve, reject) => {
    socket.once(name, () => resolve())
    socket.once('error', reject)
    socket.once('close', () => reject(new Error('the connection was closed')))
  })
  if ((await within(clock, timeoutMs, happened)) === TIMED_OUT) throw new Error(`no answer in ${timeoutMs} ms`)
}

function ignore(): void {
  // Told by the 'close' that follows, or by the promise that waits for the socket.
}
