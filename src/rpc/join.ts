import { createHmac, timingSafeEqual } from 'node:crypto'
import { connect as connectTcp } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { type Clock, TIMED_OUT, within } from '../base/clock.ts'
import { HsuError, messageOf } from '../base/error.ts'
import { parseAddress } from './address.ts'

/**
 * How a host without the mesh key gets it from a node that invited it: over TLS 1.3 on the link port, under a protocol
 * name that only the secret of the invitation gives. Both sides then prove that they have the secret, by a keyed code
 * over what is particular to this TLS connection (its exporter, RFC 9266): somebody between them has two connections, and
 * cannot pass a proof from one to the other. So neither certificate needs to be known.
 */
const PROTOCOL_PREFIX = 'hsu-join-'

const EXPORTER_LABEL = 'EXPORTER-hsu-join'

const PROOF_BYTES = 32

/** How long the whole exchange may take. */
const EXCHANGE_MS = 5_000

/** More than any mesh key file with its seeds. */
const MAX_GIFT_BYTES = 64 * 1024

/** The name under which a guest with this secret asks. Seen by whoever watches the network; says nothing about the secret. */
export function joinProtocol(secret: Uint8Array): string {
  return PROTOCOL_PREFIX + code(secret, 'name', Buffer.of()).subarray(0, 8).toString('hex')
}

/** How a guest fared. */
export type Joined = 'given' | 'no proof' | 'refused'

/**
 * Serves one guest and ends the connection.
 *
 * @param give what the guest gets once it has proven itself; undefined when there is nothing for it any more
 */
export async function serveGuest(
  clock: Clock,
  socket: TLSSocket,
  secret: Uint8Array,
  give: () => Uint8Array | undefined | Promise<Uint8Array | undefined>,
): Promise<Joined> {
  socket.on('error', ignore)
  const expected = guestProof(secret, socket)
  const proof = await within(
    clock,
    EXCHANGE_MS,
    firstBytes(socket, PROOF_BYTES).catch(() => undefined),
  )
  if (proof === TIMED_OUT || proof === undefined || !isEqual(proof, expected)) {
    socket.destroy()
    return 'no proof'
  }
  // A connection that is lost by now must not cost a use.
  const gift = socket.destroyed ? undefined : await give()
  if (gift === undefined) {
    socket.destroy()
    return 'refused'
  }
  const ended = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  socket.end(Buffer.concat([hostProof(secret, socket), gift]))
  socket.resume()
  await within(clock, EXCHANGE_MS, ended)
  socket.destroy()
  return 'given'
}

/**
 * Asks the node at `address` for what it has for guests with `secret`.
 *
 * @throws HsuError NODE_UNREACHABLE when nobody answers there, NOT_PERMITTED when the code leads to nothing (any more).
 */
export async function askAsGuest(
  clock: Clock,
  address: string,
  secret: Uint8Array,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const tcp = connectTcp(parseAddress(address))
  const abort = (): void => void tcp.destroy()
  tcp.on('error', ignore)
  signal.addEventListener('abort', abort)
  try {
    if (!(await happens(clock, tcp, 'connect'))) throw unreachable(address)
    const protocol = joinProtocol(secret)
    const tls = connectTls({ socket: tcp, ALPNProtocols: [protocol], minVersion: 'TLSv1.3', rejectUnauthorized: false })
    tls.on('error', ignore)
    if (!(await happens(clock, tls, 'secureConnect')) || tls.alpnProtocol !== protocol) throw refused(address)
    const expected = hostProof(secret, tls)
    tls.write(guestProof(secret, tls))
    const answer = await within(
      clock,
      EXCHANGE_MS,
      allBytes(tls, MAX_GIFT_BYTES).catch(() => undefined),
    )
    if (answer === TIMED_OUT || answer === undefined || answer.length <= PROOF_BYTES) throw refused(address)
    if (!isEqual(answer.subarray(0, PROOF_BYTES), expected)) throw refused(address)
    return answer.subarray(PROOF_BYTES)
  } catch (error) {
    signal.throwIfAborted()
    throw error instanceof HsuError ? error : unreachable(address, error)
  } finally {
    signal.removeEventListener('abort', abort)
    tcp.destroy()
  }
}

function guestProof(secret: Uint8Array, socket: TLSSocket): Buffer {
  return code(secret, 'guest', socket.exportKeyingMaterial(PROOF_BYTES, EXPORTER_LABEL, Buffer.of()))
}

function hostProof(secret: Uint8Array, socket: TLSSocket): Buffer {
  return code(secret, 'host', socket.exportKeyingMaterial(PROOF_BYTES, EXPORTER_LABEL, Buffer.of()))
}

function code(secret: Uint8Array, purpose: string, bytes: Uint8Array): Buffer {
  return createHmac('sha256', secret).update(`hsu join ${purpose}\n`).update(bytes).digest()
}

function isEqual(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && timingSafeEqual(one, other)
}

function unreachable(address: string, cause?: unknown): HsuError {
  const why = cause === undefined ? 'no answer' : messageOf(cause)
  return new HsuError('NODE_UNREACHABLE', `no node answers at ${address}: ${why}`, { details: { address }, cause })
}

function refused(address: string): HsuError {
  const message = `${address} knows of no such invitation: it is used up, over, or of another node; ask for a new one`
  return new HsuError('NOT_PERMITTED', message, { details: { address } })
}

/** False when the socket closes before, or it takes too long. */
async function happens(
  clock: Clock,
  socket: TLSSocket | ReturnType<typeof connectTcp>,
  name: string,
): Promise<boolean> {
  const happened = new Promise<boolean>((resolve) => {
    socket.once(name, () => resolve(true))
    socket.once('close', () => resolve(false))
  })
  return (await within(clock, EXCHANGE_MS, happened)) === true
}

/** The first `count` bytes; undefined when the socket ends before. */
async function firstBytes(socket: TLSSocket, count: number): Promise<Buffer | undefined> {
  const chunks: Buffer[] = []
  for await (const chunk of socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    const all = Buffer.concat(chunks)
    if (all.length >= count) return all.length === count ? all : undefined
  }
  return undefined
}

/** All that comes until the other side ends; undefined when it is too much. */
async function allBytes(socket: TLSSocket, max: number): Promise<Buffer | undefined> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    length += chunk.length
    if (length > max) return undefined
  }
  return Buffer.concat(chunks)
}

function ignore(): void {
  // The 'close' that follows is what counts.
}
