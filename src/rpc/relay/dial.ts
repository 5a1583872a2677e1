import { connect as connectTcp, type OnReadOpts, type Socket } from 'node:net'
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls'
import { type Clock, TIMED_OUT, within } from '../../base/clock.ts'
import { HsuError } from '../../base/error.ts'
import { parseAddress } from '../address.ts'
import { fingerprintOf, type LinkCertificate } from '../link-certificate.ts'
import type { RelayLoop } from './loop.ts'
import { Upstream } from './upstream.ts'

/** Time for the TCP connection to one address; on a LAN it takes milliseconds. */
const CONNECT_TIMEOUT_MS = 1_000

/** Time for TLS and the first SETTINGS: the host is there, but it may be busy. */
const HANDSHAKE_TIMEOUT_MS = 3_000

/** What dialling a link needs. */
export interface LinkDialSeams {
  readonly clock: Clock
  readonly loop: RelayLoop
  readonly certificate: LinkCertificate
}

/**
 * Connects to the link of a node and checks, before anything of a call is sent, that it is the one we mean.
 * @throws Error why not
 */
export function dialLink(
  { clock, loop, certificate }: LinkDialSeams,
  address: string,
  fingerprints: readonly string[],
  signal: AbortSignal,
): Promise<Upstream> {
  const upstream = new Upstream(loop)
  // `onread` is documented with the rest of them; the declarations lack it.
  const options: ConnectionOptions & { readonly onread: OnReadOpts } = {
    ...parseAddress(address),
    cert: certificate.certPem,
    key: certificate.keyPem,
    minVersion: 'TLSv1.3',
    ALPNProtocols: ['h2'],
    // There is no CA: the check of its fingerprint below is all there is.
    rejectUnauthorized: false,
    onread: sharedRead(loop, upstream),
  }
  const tls = connectTls(options)
  return untilAborted(tls, signal, async () => {
    await event(clock, tls, 'connect', CONNECT_TIMEOUT_MS)
    await event(clock, tls, 'secureConnect', HANDSHAKE_TIMEOUT_MS)
    checkPeer(tls, fingerprints)
    upstream.start(tls, true)
    try {
      await greeted(clock, upstream)
    } catch (cause) {
      throw new Error('it ended the connection; it may not know this node yet', { cause })
    }
    return upstream
  })
}

/** Connects to `host:port` or `unix:/path` on this host, in plain HTTP/2. @throws Error why not */
export function dialLocal(clock: Clock, loop: RelayLoop, address: string, signal: AbortSignal): Promise<Upstream> {
  const upstream = new Upstream(loop)
  const socket = connectTcp({ ...parseAddress(address), onread: sharedRead(loop, upstream) })
  return untilAborted(socket, signal, async () => {
    await event(clock, socket, 'connect', CONNECT_TIMEOUT_MS)
    upstream.start(socket, true)
    await greeted(clock, upstream)
    return upstream
  })
}

/** All sockets read into the same memory, one after the other. */
function sharedRead({ arena }: RelayLoop, upstream: Upstream): OnReadOpts {
  const callback = (bytes: number): boolean => {
    upstream.takeShared(bytes)
    return true
  }
  return { buffer: arena.readBuffer, callback }
}

async function greeted(clock: Clock, upstream: Upstream): Promise<void> {
  if ((await within(clock, HANDSHAKE_TIMEOUT_MS, upstream.greeting())) !== TIMED_OUT) return
  upstream.destroy()
  throw new Error('no answer')
}

function checkPeer(tls: TLSSocket, fingerprints: readonly string[]): void {
  const shown = tls.getPeerX509Certificate()
  if (shown === undefined || !fingerprints.includes(fingerprintOf(shown.raw))) {
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
