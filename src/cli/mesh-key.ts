import { createHash } from 'node:crypto'

/** Digits of the hash that are shown: enough to tell keys apart, few enough to compare by eye. */
const SHOWN_DIGITS = 16

/** Tells mesh keys apart without showing them: the first 16 hexadecimal digits of a SHA-256 made for this use only. */
export function fingerprintOf(key: Uint8Array): string {
  return createHash('sha256').update('hsu-mesh-key\n').update(key).digest('hex').slice(0, SHOWN_DIGITS)
}
