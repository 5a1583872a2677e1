import { create, type DescMessage, fromBinary, type MessageShape, toBinary } from '@bufbuild/protobuf'
import { HsuError, messageOf } from '../../base/error.ts'
import * as pb from '../gen/hsu/mesh/v1/mesh_pb.ts'
import { MESH_KEY_BYTES } from '../keys/mesh-key.ts'
import { MAX_DIGESTS, MAX_ITEMS, MAX_MESSAGE_BYTES, MAX_RULINGS } from '../limits.ts'
import type { Batch, Digest, Rumour, Unverified } from '../member.ts'
import { checkList, checkText } from './check.ts'
import {
  deltaFromProto,
  deltaToProto,
  digestFromProto,
  digestToProto,
  recordFromProto,
  rumourFromProto,
  rumourToProto,
  sectionFromBytes,
  sectionToBytes,
} from './items.ts'

/** A question between two nodes. */
export type PeerRequest =
  | { readonly kind: 'ping'; readonly belief: Rumour | undefined }
  | { readonly kind: 'indirectPing'; readonly target: string; readonly belief: Rumour | undefined }
  | { readonly kind: 'compare'; readonly view: Uint8Array; readonly after: string }
  | {
      readonly kind: 'exchange'
      readonly batch: Batch
      readonly wanted: readonly string[]
      /** The answer is to hold all rulings. */
      readonly wantsRulings?: boolean
    }
  | { readonly kind: 'key'; readonly fingerprint: string }

/** The answer to a ping, direct or indirect. */
export interface Ack {
  readonly kind: 'ack'
  /** Of an indirect ping: whether the target answered. */
  readonly alive: boolean
  /** The record of the one that was pinged, when the asker's belief was out of date. */
  readonly record: Unverified | undefined
  /** What the asked believes of the asker, when that is bad news. */
  readonly belief: Rumour | undefined
}

/** The answer to `compare`. */
export interface Comparison {
  readonly kind: 'compare'
  readonly same: boolean
  readonly digests: readonly Digest[]
  /** Not empty when more digests follow. */
  readonly next: string
  /** Hash of the rulings that the asked knows; empty when it knows none. */
  readonly rulings: Uint8Array
}

/** The answer to `exchange`. */
export interface Receipt {
  readonly kind: 'exchange'
  readonly batch: Batch
  /** What the asked now holds of the owners it was sent. */
  readonly held: readonly Digest[]
}

/** The answer to `key`. */
export interface KeyAnswer {
  readonly kind: 'key'
  /** Undefined when the asked has not got it, or the asker may not have it. */
  readonly key: Uint8Array | undefined
}

export type PeerResponse = Ack | Comparison | Receipt | KeyAnswer

/** A batch with nothing in it. */
export const EMPTY_BATCH: Batch = { records: [], rumours: [], sections: [], rulings: [] }

/** @throws HsuError LIMIT_EXCEEDED when it is larger than a message may be */
export function encodeBroadcast(batch: Batch): Uint8Array {
  return encode(pb.BroadcastSchema, create(pb.BroadcastSchema, batchToProto(batch)))
}

/** @throws HsuError USAGE when the bytes are oversized, garbage or break a bound */
export function decodeBroadcast(bytes: Uint8Array): Batch {
  return batchFromProto(decode(pb.BroadcastSchema, bytes))
}

/** @throws HsuError LIMIT_EXCEEDED when it is larger than a message may be */
export function encodeRequest(request: PeerRequest): Uint8Array {
  return encode(pb.PeerRequestSchema, create(pb.PeerRequestSchema, { request: requestToProto(request) }))
}

/** @throws HsuError USAGE when the bytes are oversized, garbage, break a bound or ask what this version does not know */
export function decodeRequest(bytes: Uint8Array): PeerRequest {
  const { request } = decode(pb.PeerRequestSchema, bytes)
  switch (request.case) {
    case 'ping':
      return { kind: 'ping', belief: optionalRumour(request.value.belief) }
    case 'indirectPing': {
      const { target, belief } = request.value
      return { kind: 'indirectPing', target: checkText('target', target, 1), belief: optionalRumour(belief) }
    }
    case 'compare':
      return { kind: 'compare', view: request.value.view, after: checkText('after', request.value.after) }
    case 'exchange': {
      const wanted = checkList('wanted', request.value.wanted, MAX_ITEMS, (owner) => checkText('wanted', owner, 1))
      const { wantsRulings } = request.value
      return { kind: 'exchange', batch: batchFromProto(request.value), wanted, wantsRulings }
    }
    case 'key':
      return { kind: 'key', fingerprint: checkText('fingerprint', request.value.fingerprint, 1) }
    case undefined:
      throw new HsuError('USAGE', 'request of a kind that this version does not know')
  }
}

/** @throws HsuError LIMIT_EXCEEDED when it is larger than a message may be */
export function encodeResponse(response: PeerResponse): Uint8Array {
  return encode(pb.PeerResponseSchema, create(pb.PeerResponseSchema, { response: responseToProto(response) }))
}

/** @throws HsuError USAGE when the bytes are oversized, garbage, break a bound or answer another question */
export function decodeResponse<K extends PeerResponse['kind']>(
  kind: K,
  bytes: Uint8Array,
): Extract<PeerResponse, { kind: K }> {
  const response = responseFromProto(decode(pb.PeerResponseSchema, bytes))
  if (response.kind !== kind) throw new HsuError('USAGE', `answer is '${response.kind}', not '${kind}'`)
  return response as Extract<PeerResponse, { kind: K }>
}

function requestToProto(request: PeerRequest) {
  switch (request.kind) {
    case 'ping':
      return { case: 'ping', value: create(pb.PingSchema, beliefOf(request.belief)) } as const
    case 'indirectPing': {
      const value = create(pb.IndirectPingSchema, { target: request.target, ...beliefOf(request.belief) })
      return { case: 'indirectPing', value } as const
    }
    case 'compare':
      return {
        case: 'compare',
        value: create(pb.CompareRequestSchema, { view: request.view, after: request.after }),
      } as const
    case 'exchange': {
      const { batch, wanted, wantsRulings = false } = request
      const value = create(pb.ExchangeRequestSchema, { ...batchToProto(batch), wanted: [...wanted], wantsRulings })
      return { case: 'exchange', value } as const
    }
    case 'key':
      return { case: 'key', value: create(pb.KeyRequestSchema, { fingerprint: request.fingerprint }) } as const
  }
}

function responseToProto(response: PeerResponse) {
  switch (response.kind) {
    case 'ack': {
      const { alive, record, belief } = response
      const signed = record && { record: { record: record.bytes, signature: record.signature } }
      return { case: 'ack', value: create(pb.AckSchema, { alive, ...signed, ...beliefOf(belief) }) } as const
    }
    case 'compare': {
      const { same, digests, next, rulings } = response
      const value = create(pb.CompareResponseSchema, { same, digests: digests.map(digestToProto), next, rulings })
      return { case: 'compare', value } as const
    }
    case 'exchange': {
      const held = response.held.map(digestToProto)
      return {
        case: 'exchange',
        value: create(pb.ExchangeResponseSchema, { ...batchToProto(response.batch), held }),
      } as const
    }
    case 'key':
      return { case: 'key', value: create(pb.KeyResponseSchema, { key: response.key ?? new Uint8Array() }) } as const
  }
}

function responseFromProto({ response }: pb.PeerResponse): PeerResponse {
  switch (response.case) {
    case 'ack': {
      const { alive, record, belief } = response.value
      return { kind: 'ack', alive, record: record && recordFromProto(record), belief: optionalRumour(belief) }
    }
    case 'compare': {
      const { same, digests, next, rulings } = response.value
      return {
        kind: 'compare',
        same,
        digests: checkList('digests', digests, MAX_DIGESTS, digestFromProto).filter(isDefined),
        next: checkText('next', next),
        rulings,
      }
    }
    case 'exchange': {
      const held = checkList('held', response.value.held, MAX_ITEMS, digestFromProto).filter(isDefined)
      return { kind: 'exchange', batch: batchFromProto(response.value), held }
    }
    case 'key':
      return { kind: 'key', key: checkKey(response.value.key) }
    case undefined:
      throw new HsuError('USAGE', 'answer of a kind that this version does not know')
  }
}

function batchToProto(batch: Batch) {
  return {
    records: batch.records.map(({ bytes, signature }) => ({ record: bytes, signature })),
    rumours: batch.rumours.map(rumourToProto),
    sections: batch.sections.map(sectionToBytes),
    deltas: (batch.deltas ?? []).map(deltaToProto),
    rulings: (batch.rulings ?? []).map(({ bytes, signature }) => ({ ruling: bytes, signature })),
  }
}

interface ProtoBatch {
  readonly records: readonly pb.SignedNodeRecord[]
  readonly rumours: readonly pb.Rumour[]
  readonly sections: readonly Uint8Array[]
  /** Not in answers. */
  readonly deltas?: readonly pb.SectionDelta[]
  readonly rulings: readonly pb.SignedRuling[]
}

function batchFromProto({ records, rumours, sections, deltas = [], rulings }: ProtoBatch): Batch {
  return {
    records: checkList('records', records, MAX_ITEMS, recordFromProto),
    rumours: checkList('rumours', rumours, MAX_ITEMS, rumourFromProto).filter(isDefined),
    sections: checkList('sections', sections, MAX_ITEMS, sectionFromBytes),
    deltas: checkList('deltas', deltas, MAX_ITEMS, deltaFromProto),
    rulings: checkList('rulings', rulings, 2 * MAX_RULINGS, ({ ruling, signature }) => ({ bytes: ruling, signature })),
  }
}

function checkKey(key: Uint8Array): Uint8Array | undefined {
  if (key.length !== 0 && key.length !== MESH_KEY_BYTES) throw new HsuError('USAGE', `a key of ${key.length} bytes`)
  return key.length === 0 ? undefined : key
}

function beliefOf(belief: Rumour | undefined) {
  return belief === undefined ? {} : { belief: rumourToProto(belief) }
}

function optionalRumour(rumour: pb.Rumour | undefined): Rumour | undefined {
  return rumour && rumourFromProto(rumour)
}

function isDefined<T>(value: T | undefined): value is T {
  return value !== undefined
}

function encode<D extends DescMessage>(schema: D, message: MessageShape<D>): Uint8Array {
  const bytes = toBinary(schema, message)
  if (bytes.length > MAX_MESSAGE_BYTES) {
    throw new HsuError('LIMIT_EXCEEDED', `message of ${bytes.length} bytes, more than ${MAX_MESSAGE_BYTES}`)
  }
  return bytes
}

function decode<D extends DescMessage>(schema: D, bytes: Uint8Array): MessageShape<D> {
  if (bytes.length > MAX_MESSAGE_BYTES) throw new HsuError('USAGE', `message of ${bytes.length} bytes`)
  try {
    // What this version does not know stays where it is: it may be part of what an owner signed.
    return fromBinary(schema, bytes)
  } catch (cause) {
    throw new HsuError('USAGE', `message cannot be read: ${messageOf(cause)}`, { cause })
  }
}
