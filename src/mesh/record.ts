import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { HsuError } from '../base/error.ts'
import { checkCount, checkList, checkNodeId, checkText } from './gossip/check.ts'
import { NodeRecordSchema } from './gen/hsu/mesh/v1/mesh_pb.ts'
import { type Identity, verifySigned } from './identity.ts'
import { PROOF_BYTES } from './keys/holder-proof.ts'
import { MAX_ENTRIES, MAX_RECORD_BYTES } from './limits.ts'
import type { NodeRecord, SignedRecord, Unverified } from './member.ts'

/** Goes before the record in what is signed, so that the signature is good for nothing else. */
const DOMAIN = new TextEncoder().encode('hsu.mesh.v1.NodeRecord\n')

/** The most link certificates that may count beside the one that is shown. */
const MAX_FURTHER = 4

/** The most mesh keys a node may show that it has. */
const MAX_PROOFS = 4

/** Signs a record with the key of its own node. @throws HsuError LIMIT_EXCEEDED when it is larger than 16 KiB. */
export function signRecord(identity: Identity, record: NodeRecord): SignedRecord {
  const bytes = toBinary(NodeRecordSchema, toProto(record))
  if (bytes.length > MAX_RECORD_BYTES) {
    const message = `node record has ${bytes.length} bytes, more than ${MAX_RECORD_BYTES}; use fewer or shorter labels`
    throw new HsuError('LIMIT_EXCEEDED', message, { details: { bytes: bytes.length, maxBytes: MAX_RECORD_BYTES } })
  }
  return { record, bytes, signature: identity.sign(signed(bytes)) }
}

/**
 * Reads a record that came over the wire, without trusting it: see `isGenuine`.
 *
 * @throws HsuError USAGE when it is malformed or larger than allowed.
 */
export function parseRecord({ bytes, signature }: Unverified): SignedRecord {
  if (bytes.length > MAX_RECORD_BYTES) throw new HsuError('USAGE', `node record has ${bytes.length} bytes`)
  return { record: fromProto(bytes), bytes, signature }
}

/** Whether the node that the record names has signed it. Costs about 0.1 ms. */
export function isGenuine({ record, bytes, signature }: SignedRecord): boolean {
  return verifySigned(record.nodeId, signed(bytes), signature)
}

/** Above 0 when `one` is newer than `other`, by incarnation, then by version. */
export function compareRecords(one: NodeRecord, other: NodeRecord): number {
  return one.incarnation - other.incarnation || one.recordVersion - other.recordVersion
}

function signed(bytes: Uint8Array): Uint8Array {
  return Buffer.concat([DOMAIN, bytes])
}

function toProto(record: NodeRecord) {
  return create(NodeRecordSchema, {
    nodeId: record.nodeId,
    name: record.name,
    incarnation: BigInt(record.incarnation),
    startedIncarnation: BigInt(record.startedIncarnation),
    versionNumber: BigInt(record.recordVersion),
    meshAddresses: [...record.meshAddresses],
    linkAddresses: [...record.linkAddresses],
    linkFingerprint: Buffer.from(record.linkFingerprint, 'hex'),
    furtherLinkFingerprints: (record.furtherLinkFingerprints ?? []).map((print) => Buffer.from(print, 'hex')),
    labels: { ...record.labels },
    version: record.version,
    signsSections: record.signsSections ?? false,
    takesDeltas: record.takesDeltas ?? false,
    awayMs: record.awayMs ?? 0,
    keyProofs: (record.keyProofs ?? []).map((proof) => Buffer.from(proof, 'hex')),
  })
}

function fromProto(bytes: Uint8Array): NodeRecord {
  const message = fromBinary(NodeRecordSchema, bytes, { readUnknownFields: false })
  const labels = Object.entries(message.labels)
  const further = message.furtherLinkFingerprints
  const incarnation = checkCount('incarnation', message.incarnation)
  const startedIncarnation = checkCount('started_incarnation', message.startedIncarnation)
  if (startedIncarnation > incarnation) throw new HsuError('USAGE', 'started_incarnation is above incarnation')
  return {
    nodeId: checkNodeId('node_id', message.nodeId),
    name: checkText('name', message.name, 1),
    incarnation,
    startedIncarnation,
    recordVersion: checkCount('version_number', message.versionNumber),
    meshAddresses: checkList('mesh_addresses', message.meshAddresses, MAX_ENTRIES, (text) =>
      checkText('mesh_addresses', text),
    ),
    linkAddresses: checkList('link_addresses', message.linkAddresses, MAX_ENTRIES, (text) =>
      checkText('link_addresses', text),
    ),
    linkFingerprint: message.linkFingerprint.length === 0 ? '' : checkFingerprint(message.linkFingerprint),
    ...(further.length > 0 && {
      furtherLinkFingerprints: checkList('further_link_fingerprints', further, MAX_FURTHER, checkFingerprint),
    }),
    labels: Object.fromEntries(
      checkList('labels', labels, MAX_ENTRIES, ([key, value]) => [
        checkText('label name', key),
        checkText(`label ${key}`, value),
      ]),
    ),
    version: checkText('version', message.version),
    ...(message.signsSections && { signsSections: true }),
    ...(message.takesDeltas && { takesDeltas: true }),
    ...(message.awayMs > 0 && { awayMs: message.awayMs }),
    ...(message.keyProofs.length > 0 && {
      keyProofs: checkList('key_proofs', message.keyProofs, MAX_PROOFS, checkProof),
    }),
  }
}

function checkFingerprint(fingerprint: Uint8Array): string {
  if (fingerprint.length !== 32) throw new HsuError('USAGE', 'fingerprint is not SHA-256')
  return Buffer.from(fingerprint).toString('hex')
}

function checkProof(proof: Uint8Array): string {
  if (proof.length !== PROOF_BYTES) throw new HsuError('USAGE', `a proof has ${PROOF_BYTES} bytes, not ${proof.length}`)
  return Buffer.from(proof).toString('hex')
}
