import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'

/** Length of a mesh key in bytes (libp2p specs, pnet). */
export const MESH_KEY_BYTES = 32

/** Digits of the fingerprint: enough to tell keys apart, few enough to compare by eye. */
const FINGERPRINT_DIGITS = 16

/** A new mesh key from the system's randomness. */
export function newMeshKey(): Uint8Array {
  return Uint8Array.from(randomBytes(MESH_KEY_BYTES))
}

/** Tells mesh keys apart without showing them: the first 16 hexadecimal digits of a SHA-256 made for this use only. */
export function meshKeyFingerprint(key: Uint8Array): string {
  return createHash('sha256').update('hsu-mesh-key\n').update(key).digest('hex').slice(0, FINGERPRINT_DIGITS)
}

/**
 * A code that only holders of `key` can make or check, for one use (`purpose`) over `bytes`. It looks like chance to
 * everybody else, and says nothing about the key.
 */
export function keyedCode(key: Uint8Array, purpose: string, bytes: Uint8Array, length: number): Uint8Array {
  return Uint8Array.from(
    createHmac('sha256', key).update(`hsu ${purpose}\n`).update(bytes).digest().subarray(0, length),
  )
}

/** Whether two codes are equal, in a time that does not depend on where they differ. */
export function sameCode(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && timingSafeEqual(one, other)
}
