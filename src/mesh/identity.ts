import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign, verify } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { HsuError } from '../base/error.ts'
import type { Log } from '../base/log.ts'
import { readJson, type Store, writeJson } from '../base/store.ts'
import { decodeBase58, encodeBase58 } from './base58.ts'

/** Who a node is: an Ed25519 key pair that it keeps for life. */
export interface Identity {
  /** The libp2p peer id that belongs to the key: base58btc of an identity multihash of the public key, `12D3KooW...`. */
  readonly nodeId: string
  /** Ed25519 signature (64 bytes) over `bytes`. */
  sign(bytes: Uint8Array): Uint8Array
  /** The 32-byte seed of the private key (RFC 8032). Secret. */
  readonly privateKey: Uint8Array
}

/** Where the identity lies in the store. */
const KEY = 'identity.json'

/**
 * What precedes the 32 bytes of the public key in a peer id: multihash `identity` (0x00) of 36 (0x24) bytes, which are
 * the protobuf `{ Type: Ed25519 (field 1 = 1), Data (field 2): 32 bytes }` (libp2p specs, peer-ids).
 */
const PEER_ID_PREFIX = Uint8Array.of(0x00, 0x24, 0x08, 0x01, 0x12, 0x20)

/** DER before the 32-byte seed of an Ed25519 private key in PKCS #8 (RFC 8410, section 7). */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex')

/** DER before the 32 bytes of an Ed25519 public key in SubjectPublicKeyInfo (RFC 8410, section 4). */
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex')

const KEY_BYTES = 32

/** Reads the node's identity; makes and stores one when there is none. A damaged file is set aside and reported. */
export async function loadIdentity(store: Store, log: Log): Promise<Identity> {
  const kept = await readJson(store, KEY, parseStored, log)
  if (kept !== undefined) return kept
  const identity = createIdentity()
  const privateKey = Buffer.from(identity.privateKey).toString('base64')
  await writeJson(store, KEY, { nodeId: identity.nodeId, privateKey })
  log.info('identity made', { nodeId: identity.nodeId })
  return identity
}

/** A new identity from the system's randomness, not stored anywhere. */
export function createIdentity(): Identity {
  const { privateKey } = generateKeyPairSync('ed25519')
  const der = privateKey.export({ format: 'der', type: 'pkcs8' })
  return identityFrom(der.subarray(PKCS8_PREFIX.length))
}

/** The identity of a 32-byte private seed. @throws HsuError INTERNAL when it is not 32 bytes. */
export function identityFrom(seed: Uint8Array): Identity {
  if (seed.length !== KEY_BYTES) throw new HsuError('INTERNAL', `a private key has 32 bytes, not ${seed.length}`)
  const der = Buffer.concat([PKCS8_PREFIX, seed])
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  const spki = createPublicKey(key).export({ format: 'der', type: 'spki' })
  return {
    nodeId: nodeIdOf(spki.subarray(SPKI_PREFIX.length)),
    sign: (bytes) => sign(undefined, bytes, key),
    privateKey: Uint8Array.from(seed),
  }
}

/** The node id of an Ed25519 public key of 32 bytes. */
export function nodeIdOf(publicKey: Uint8Array): string {
  return encodeBase58(Buffer.concat([PEER_ID_PREFIX, publicKey]))
}

/** The Ed25519 public key inside a node id; undefined when the text is not the id of such a key. */
export function publicKeyOf(nodeId: string): Uint8Array | undefined {
  const bytes = decodeBase58(nodeId, 64)
  if (bytes?.length !== PEER_ID_PREFIX.length + KEY_BYTES) return undefined
  if (PEER_ID_PREFIX.some((byte, index) => bytes[index] !== byte)) return undefined
  return bytes.subarray(PEER_ID_PREFIX.length)
}

/** Whether `signature` over `bytes` was made by the owner of `nodeId`. False, never an error, for any bad input. */
export function verifySigned(nodeId: string, bytes: Uint8Array, signature: Uint8Array): boolean {
  const key = verifyingKey(nodeId)
  if (key === undefined || signature.length !== 64) return false
  try {
    return verify(undefined, bytes, key, signature)
  } catch {
    return false
  }
}

/** Making a key costs as much as verifying with it; what is kept here follows from the node id alone. */
const verifyingKeys = new LRUCache<string, KeyObject>({ max: 1_024 })

function verifyingKey(nodeId: string): KeyObject | undefined {
  const kept = verifyingKeys.get(nodeId)
  if (kept !== undefined) return kept
  const publicKey = publicKeyOf(nodeId)
  if (publicKey === undefined) return undefined
  try {
    const key = createPublicKey({ key: Buffer.concat([SPKI_PREFIX, publicKey]), format: 'der', type: 'spki' })
    verifyingKeys.set(nodeId, key)
    return key
  } catch {
    return undefined
  }
}

function parseStored(raw: unknown): Identity {
  const { nodeId, privateKey } = (raw ?? {}) as { nodeId?: unknown; privateKey?: unknown }
  if (typeof privateKey !== 'string') throw new HsuError('STORE_CORRUPT', 'identity.json has no private key')
  const identity = identityFrom(Buffer.from(privateKey, 'base64'))
  if (identity.nodeId !== nodeId)
    throw new HsuError('STORE_CORRUPT', 'identity.json: key and node id do not belong together')
  return identity
}
