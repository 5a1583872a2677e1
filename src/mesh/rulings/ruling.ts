import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { HsuError, messageOf } from '../../base/error.ts'
import { RulingSchema } from '../gen/hsu/mesh/v1/mesh_pb.ts'
import { checkCount, checkList, checkNodeId, checkText } from '../gossip/check.ts'
import { type Identity, nodeIdOf, publicKeyOf, verifySigned } from '../identity.ts'
import { MAX_HOLDERS, MAX_RULING_BYTES } from '../limits.ts'
import type { Unverified } from '../member.ts'

interface Decision {
  /** Node id of who decided. */
  readonly issuer: string
  /** Grows with each ruling on the same subject. */
  readonly number: number
  /** By the issuer's wall clock, for people. */
  readonly issuedMs: number
  /** Who asked for it, as they say of themselves. */
  readonly actor: string
}

/** Whether a node may be a member. Its subject is the node. */
export interface NodeRuling extends Decision {
  readonly kind: 'node'
  readonly nodeId: string
  /** False: it may be one again. */
  readonly removed: boolean
  /** What the node was called. */
  readonly name: string
}

/** Which mesh key comes next. All of them have one subject. */
export interface KeyRuling extends Decision {
  readonly kind: 'key'
  readonly fingerprint: string
  /** How long a node that gets the new key goes on accepting those before it. */
  readonly overlapMs: number
  /** Node ids of those who may have the new key. */
  readonly holders: readonly string[]
}

/** What a member decided for the whole mesh: all keep it, and of one subject the highest number counts. */
export type Ruling = NodeRuling | KeyRuling

/** A ruling with the bytes and signature it came with, which are passed on as they are. */
export interface SignedRuling {
  readonly ruling: Ruling
  readonly bytes: Uint8Array
  readonly signature: Uint8Array
}

/** Goes before the ruling in what is signed, so that the signature is good for nothing else. */
const DOMAIN = new TextEncoder().encode('hsu.mesh.v1.Ruling\n')

/** The highest number of a ruling. A mesh that rules once a second on one node gets there in 136 years. */
export const MAX_NUMBER = 2 ** 32

export function signRuling(identity: Identity, ruling: Ruling): SignedRuling {
  const bytes = toBinary(RulingSchema, toProto(ruling))
  return { ruling, bytes, signature: identity.sign(signed(bytes)) }
}

/**
 * Reads a ruling that came over the wire or from the disk, without trusting it: see `isGenuineRuling`.
 *
 * @throws HsuError USAGE when it is malformed, too large, or of a kind that this version does not know.
 */
export function parseRuling({ bytes, signature }: Unverified): SignedRuling {
  if (bytes.length > MAX_RULING_BYTES) throw new HsuError('USAGE', `ruling has ${bytes.length} bytes`)
  return { ruling: fromProto(bytes), bytes, signature }
}

/** Whether the node that the ruling names as its issuer has signed it. Costs about 0.1 ms. */
export function isGenuineRuling({ ruling, bytes, signature }: SignedRuling): boolean {
  return verifySigned(ruling.issuer, signed(bytes), signature)
}

/** What a ruling is about: of one subject only one ruling counts. */
export function subjectOf(ruling: Ruling): string {
  return ruling.kind === 'node' ? ruling.nodeId : 'key'
}

/**
 * Above 0 when `one` counts and `other`, on the same subject, does not. Two that were made without knowledge of each
 * other have one number: then a removal counts more than its undoing, and for the rest the greater bytes, so that
 * everybody comes to the same end.
 */
export function compareRulings(one: SignedRuling, other: SignedRuling): number {
  const order = one.ruling.number - other.ruling.number || severity(one.ruling) - severity(other.ruling)
  return order || Buffer.compare(one.bytes, other.bytes) || Buffer.compare(one.signature, other.signature)
}

function severity(ruling: Ruling): number {
  return ruling.kind === 'node' && ruling.removed ? 1 : 0
}

function signed(bytes: Uint8Array): Uint8Array {
  return Buffer.concat([DOMAIN, bytes])
}

function toProto(ruling: Ruling) {
  const { issuer, number, issuedMs, actor } = ruling
  const decision = { issuer, number: BigInt(number), issuedMs: BigInt(issuedMs), actor }
  if (ruling.kind === 'node') {
    const { nodeId, removed, name } = ruling
    return create(RulingSchema, { ...decision, subject: { case: 'node', value: { nodeId, removed, name } } })
  }
  const { fingerprint, overlapMs, holders } = ruling
  const value = { fingerprint, overlapMs: BigInt(overlapMs), holders: holders.map(keyInside) }
  return create(RulingSchema, { ...decision, subject: { case: 'key', value } })
}

function fromProto(bytes: Uint8Array): Ruling {
  const { issuer, number, issuedMs, actor, subject } = read(bytes)
  const decision = {
    issuer: checkNodeId('issuer', issuer),
    number: checkNumber(checkCount('number', number)),
    issuedMs: checkCount('issued_ms', issuedMs),
    actor: checkText('actor', actor),
  }
  switch (subject.case) {
    case 'node': {
      const { nodeId, removed, name } = subject.value
      return {
        kind: 'node',
        ...decision,
        nodeId: checkNodeId('node_id', nodeId),
        removed,
        name: checkText('name', name),
      }
    }
    case 'key': {
      const { fingerprint, overlapMs, holders } = subject.value
      return {
        kind: 'key',
        ...decision,
        fingerprint: checkText('fingerprint', fingerprint, 1),
        overlapMs: checkCount('overlap_ms', overlapMs),
        holders: checkList('holders', holders, MAX_HOLDERS, idOfKey),
      }
    }
    case undefined:
      throw new HsuError('USAGE', 'ruling of a kind that this version does not know')
  }
}

function read(bytes: Uint8Array) {
  try {
    return fromBinary(RulingSchema, bytes, { readUnknownFields: false })
  } catch (cause) {
    throw new HsuError('USAGE', `ruling cannot be read: ${messageOf(cause)}`, { cause })
  }
}

function checkNumber(number: number): number {
  if (number < 1 || number > MAX_NUMBER) throw new HsuError('USAGE', `number of a ruling is ${number}`)
  return number
}

function keyInside(nodeId: string): Uint8Array {
  const key = publicKeyOf(nodeId)
  if (key === undefined) throw new HsuError('USAGE', `${nodeId} is not a node id`)
  return key
}

function idOfKey(key: Uint8Array): string {
  if (key.length !== 32) throw new HsuError('USAGE', `a public key has 32 bytes, not ${key.length}`)
  return nodeIdOf(key)
}
