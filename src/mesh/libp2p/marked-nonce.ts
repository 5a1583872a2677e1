import { randomBytes } from 'node:crypto'
import { keyedCode, sameCode } from '../keys/mesh-key.ts'
import { NONCE_BYTES } from './pnet-box.ts'

/** Chance enough that no nonce comes twice: half of all in 2^64 connections. */
const RANDOM_BYTES = 16

/** A mark that was not meant for us fits one of our keys once in 2^32 times; that costs one try. */
const MARK_BYTES = 4

/** How many keys a nonce has room to be marked with. */
const MARKS = (NONCE_BYTES - RANDOM_BYTES) / MARK_BYTES

/**
 * A nonce that tells those who have one of `keys`, and nobody else, that its sender has it too: 16 bytes of chance, and
 * for each of the first two keys 4 bytes of a keyed code over them. To all others, a node of an earlier version among
 * them, it is a nonce like any other.
 */
export function markedNonce(keys: readonly Uint8Array[]): Uint8Array {
  const nonce = Uint8Array.from(randomBytes(NONCE_BYTES))
  const marks = keys.slice(0, MARKS).map((key) => markOf(key, nonce))
  for (const [index, mark] of marks.entries()) nonce.set(mark, RANDOM_BYTES + index * MARK_BYTES)
  return nonce
}

/** Whether the sender of `nonce` has marked it with `key`. */
export function isMarkedWith(key: Uint8Array, nonce: Uint8Array): boolean {
  const mark = markOf(key, nonce)
  return Array.from({ length: MARKS }, (_, index) => RANDOM_BYTES + index * MARK_BYTES).some((at) =>
    sameCode(mark, nonce.subarray(at, at + MARK_BYTES)),
  )
}

function markOf(key: Uint8Array, nonce: Uint8Array): Uint8Array {
  return keyedCode(key, 'mark of a nonce', nonce.subarray(0, RANDOM_BYTES), MARK_BYTES)
}
