import { createHash, randomBytes } from 'node:crypto'
import { isIPv4, isIPv6 } from 'node:net'
import { HsuError } from '../../base/error.ts'
import { splitHostPort } from '../link-addresses.ts'

/** What an invitation says: where to ask, and what to prove. */
export interface InviteCode {
  /** 16 bytes of chance, known to whoever made the code and whoever has it. */
  readonly secret: Uint8Array
  /** `host:port`, IP addresses, best first. */
  readonly addresses: readonly string[]
}

/** Crockford's base 32: no I, L, O and U, so that a code survives being read aloud and typed. */
const DIGITS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'

const SECRET_BYTES = 16

/** Tells typing errors from codes: one in 2^16 passes. */
const CHECK_BYTES = 2

/** First byte of every code of this form. */
const FORM = 1

const GROUP = 5

export function newSecret(): Uint8Array {
  return Uint8Array.from(randomBytes(SECRET_BYTES))
}

/** The code as people see it: `04HMA-SW9NF-...`. With one IPv4 address it has 42 digits. */
export function formatInvite({ secret, addresses }: InviteCode): string {
  const body = Buffer.concat([Buffer.of(FORM), secret, ...addresses.map(encodeAddress)])
  const text = toBase32(Buffer.concat([body, check(body)]))
  return (text.match(new RegExp(`.{1,${GROUP}}`, 'g')) ?? []).join('-')
}

/** Reads what somebody typed: letters of either case, with or without dashes. @throws HsuError USAGE */
export function parseInvite(text: string): InviteCode {
  const bytes = fromBase32(text)
  const body = bytes?.subarray(0, -CHECK_BYTES)
  const isWhole = body !== undefined && body.length > SECRET_BYTES
  if (!isWhole || !check(body).equals(bytes?.subarray(-CHECK_BYTES) ?? Buffer.of())) throw notACode()
  if (body[0] !== FORM)
    throw new HsuError('USAGE', 'the code was made by a newer version of hsu; use that one here too')
  const addresses = decodeAddresses(body.subarray(1 + SECRET_BYTES))
  if (addresses === undefined) throw notACode()
  return { secret: Uint8Array.from(body.subarray(1, 1 + SECRET_BYTES)), addresses }
}

function notACode(): HsuError {
  return new HsuError('USAGE', 'that is not the code of an invitation; check it for a typing error')
}

function check(body: Uint8Array): Buffer {
  return createHash('sha256').update('hsu invite\n').update(body).digest().subarray(0, CHECK_BYTES)
}

/** One byte for the kind (4 or 6), the address, the port. */
function encodeAddress(address: string): Buffer {
  const { host, port: number } = splitHostPort(address)
  const port = Buffer.alloc(2)
  port.writeUInt16BE(number)
  if (isIPv4(host)) return Buffer.concat([Buffer.of(4, ...host.split('.').map(Number)), port])
  if (isIPv6(host)) return Buffer.concat([Buffer.of(6), bytesOfV6(host), port])
  throw new HsuError('INTERNAL', `${address} is not an IP address and a port`)
}

function decodeAddresses(bytes: Buffer): string[] | undefined {
  const addresses: string[] = []
  let rest = bytes
  while (rest.length > 0) {
    const length = rest[0] === 4 ? 4 : rest[0] === 6 ? 16 : undefined
    if (length === undefined || rest.length < length + 3) return undefined
    const host = rest.subarray(1, 1 + length)
    const port = rest.readUInt16BE(1 + length)
    addresses.push(length === 4 ? `${[...host].join('.')}:${port}` : `[${textOfV6(host)}]:${port}`)
    rest = rest.subarray(length + 3)
  }
  return addresses
}

/** Node has no function for it; a URL brings any form of an IPv6 address into one. */
function bytesOfV6(host: string): Buffer {
  const plain = new URL(`http://[${host}]/`).hostname.slice(1, -1)
  const [head = '', tail] = plain.split('::')
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'))
  const [before, after] = [groups(head), groups(tail ?? '')]
  const zeros = tail === undefined ? [] : Array.from({ length: 8 - before.length - after.length }, () => '0')
  return Buffer.concat([...before, ...zeros, ...after].map((group) => Buffer.from(group.padStart(4, '0'), 'hex')))
}

function textOfV6(bytes: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2).toString(16))
  return new URL(`http://[${groups.join(':')}]/`).hostname.slice(1, -1)
}

function toBase32(bytes: Uint8Array): string {
  const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('')
  const padded = bits.padEnd(Math.ceil(bits.length / 5) * 5, '0')
  return (padded.match(/.{5}/g) ?? []).map((five) => DIGITS[Number.parseInt(five, 2)]).join('')
}

function fromBase32(text: string): Buffer | undefined {
  const plain = text.toUpperCase().replace(/[\s-]/g, '').replace(/O/g, '0').replace(/[IL]/g, '1')
  const values = Array.from(plain, (digit) => DIGITS.indexOf(digit))
  if (plain.length > 256 || values.includes(-1)) return undefined
  const bits = values.map((value) => value.toString(2).padStart(5, '0')).join('')
  const whole = bits.slice(0, bits.length - (bits.length % 8))
  if (bits.slice(whole.length).includes('1')) return undefined
  return Buffer.from((whole.match(/.{8}/g) ?? []).map((eight) => Number.parseInt(eight, 2)))
}
