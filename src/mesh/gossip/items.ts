import { create, type DescMessage, fromBinary, type MessageShape, toBinary } from '@bufbuild/protobuf'
import { HsuError, messageOf } from '../../base/error.ts'
import * as pb from '../gen/hsu/mesh/v1/mesh_pb.ts'
import { MAX_ENTRIES, MAX_RECORD_BYTES, MAX_REGISTRATIONS, MAX_SECTION_BYTES } from '../limits.ts'
import type {
  Canary,
  Digest,
  Registration,
  Rumour,
  ScheduleClaim,
  Section,
  SectionDelta,
  Tenure,
  Unverified,
} from '../member.ts'
import type { MemberStatus } from '../merge.ts'
import { checkCount, checkList, checkText } from './check.ts'
import { joinSection, withoutSignature, withSignature } from './section-bytes.ts'

/** A share of this many is all calls. */
const WHOLE = 10_000

/** Metadata keys by which one canary is asked for. */
const MAX_CANARY_HEADERS = 8

/** An Ed25519 signature and the field around it. */
const MAX_SIGNATURE_BYTES = 80

const TO_STATUS: Record<MemberStatus, pb.MemberStatus> = {
  alive: pb.MemberStatus.ALIVE,
  suspect: pb.MemberStatus.SUSPECT,
  dead: pb.MemberStatus.DEAD,
  left: pb.MemberStatus.LEFT,
}

const FROM_STATUS = new Map(Object.entries(TO_STATUS).map(([name, number]) => [number, name as MemberStatus]))

export function rumourToProto(rumour: Rumour): pb.Rumour {
  const { nodeId, status, incarnation, from, linkLost } = rumour
  const fields = { nodeId, status: TO_STATUS[status], incarnation: BigInt(incarnation), from, linkLost }
  return create(pb.RumourSchema, fields)
}

/** Undefined for a status that this version does not know, or that is not bad news. @throws HsuError USAGE */
export function rumourFromProto(rumour: pb.Rumour): Rumour | undefined {
  const status = FROM_STATUS.get(rumour.status)
  if (status === undefined || status === 'alive') return undefined
  return {
    nodeId: checkText('node_id', rumour.nodeId, 1),
    status,
    incarnation: checkCount('incarnation', rumour.incarnation),
    from: checkText('from', rumour.from),
    linkLost: rumour.linkLost,
  }
}

export function digestToProto(digest: Digest): pb.Digest {
  return create(pb.DigestSchema, {
    owner: digest.owner,
    status: TO_STATUS[digest.status],
    incarnation: BigInt(digest.incarnation),
    recordIncarnation: BigInt(digest.recordIncarnation),
    recordVersion: BigInt(digest.recordVersion),
    sectionIncarnation: BigInt(digest.sectionIncarnation),
    sectionVersion: BigInt(digest.sectionVersion),
    recordCheck: digest.recordCheck,
  })
}

/** Undefined for a status that this version does not know. @throws HsuError USAGE */
export function digestFromProto(digest: pb.Digest): Digest | undefined {
  const status = FROM_STATUS.get(digest.status)
  if (status === undefined) return undefined
  return {
    owner: checkText('owner', digest.owner, 1),
    status,
    incarnation: checkCount('incarnation', digest.incarnation),
    recordIncarnation: checkCount('record_incarnation', digest.recordIncarnation),
    recordVersion: checkCount('record_version', digest.recordVersion),
    sectionIncarnation: checkCount('section_incarnation', digest.sectionIncarnation),
    sectionVersion: checkCount('section_version', digest.sectionVersion),
    recordCheck: digest.recordCheck,
  }
}

/** @throws HsuError USAGE */
export function recordFromProto({ record, signature }: pb.SignedNodeRecord): Unverified {
  if (record.length > MAX_RECORD_BYTES) throw new HsuError('USAGE', `node record has ${record.length} bytes`)
  return { bytes: record, signature }
}

/** A section as it travels: what is signed, with the signature behind it. */
export function sectionToBytes(section: Section): Uint8Array {
  const { signed } = section
  return signed === undefined ? plainSection(section) : withSignature(signed.bytes, signed.signature)
}

/** How large a section is when sent, in bytes. */
export function sectionBytes(section: Section): number {
  const { signed } = section
  return signed === undefined ? plainSection(section).length : signed.bytes.length + signed.signature.length
}

/** @throws HsuError USAGE when it breaks a bound or is no message */
export function sectionFromBytes(bytes: Uint8Array): Section {
  if (bytes.length > MAX_SECTION_BYTES + MAX_SIGNATURE_BYTES) {
    throw new HsuError('USAGE', `section has ${bytes.length} bytes`)
  }
  const section = read(pb.SectionSchema, bytes)
  const { signature } = section
  return {
    owner: checkText('owner', section.owner, 1),
    incarnation: checkCount('incarnation', section.incarnation),
    version: checkCount('version', section.version),
    registrations: checkList('registrations', section.registrations, MAX_REGISTRATIONS, registrationFromProto),
    ...(signature.length > 0 && { signed: { bytes: withoutSignature(bytes), signature } }),
  }
}

/** A section without a signature, in the form that is signed. */
export function plainSection({ owner, incarnation, version, registrations }: Section): Uint8Array {
  return joinSection({ owner, incarnation, version }, registrations.map(registrationToBytes))
}

export function deltaToProto(delta: SectionDelta): pb.SectionDelta {
  const { owner, incarnation, version, baseVersion, removed, changed, signature } = delta
  const entries = changed.map(({ at, item }) => create(pb.SectionEntrySchema, { at, registration: item.bytes }))
  const numbers = { incarnation: BigInt(incarnation), version: BigInt(version), baseVersion: BigInt(baseVersion) }
  return create(pb.SectionDeltaSchema, { owner, ...numbers, removed: [...removed], changed: entries, signature })
}

/** @throws HsuError USAGE */
export function deltaFromProto(delta: pb.SectionDelta): SectionDelta {
  return {
    owner: checkText('owner', delta.owner, 1),
    incarnation: checkCount('incarnation', delta.incarnation),
    version: checkCount('version', delta.version),
    baseVersion: checkCount('base_version', delta.baseVersion),
    removed: checkList('removed', delta.removed, MAX_REGISTRATIONS, (at) => at),
    changed: checkList('changed', delta.changed, MAX_REGISTRATIONS, ({ at, registration: bytes }) => {
      return { at, item: { registration: registrationFromBytes(bytes), bytes } }
    }),
    signature: delta.signature,
  }
}

/** A registration as it stands in a section. */
export function registrationToBytes(registration: Registration): Uint8Array {
  return toBinary(pb.RegistrationSchema, create(pb.RegistrationSchema, registrationToProto(registration)))
}

/** @throws HsuError USAGE when it breaks a bound or is no message */
export function registrationFromBytes(bytes: Uint8Array): Registration {
  return registrationFromProto(read(pb.RegistrationSchema, bytes))
}

function read<D extends DescMessage>(schema: D, bytes: Uint8Array): MessageShape<D> {
  try {
    return fromBinary(schema, bytes)
  } catch (cause) {
    throw new HsuError('USAGE', `${schema.name} cannot be read: ${messageOf(cause)}`, { cause })
  }
}

function registrationToProto(registration: Registration) {
  const { services, ports, schedule, tenure, onCall, ...rest } = registration
  const claim = schedule === undefined ? {} : { schedule: { ...schedule, tickMs: BigInt(schedule.tickMs) } }
  const held = tenure === undefined ? {} : { tenure: { stand: tenure.stand, term: BigInt(tenure.term) } }
  const waits = onCall === undefined ? {} : { onCall: { holdMs: onCall.holdMs, waitsOnly: !onCall.starts } }
  return { ...rest, services: [...services], ports: { ...ports }, ...claim, ...held, ...waits }
}

function registrationFromProto(registration: pb.Registration): Registration {
  const { unit, instance, replica, kind, state, ready, services, address, schedule, tenure, onCall } = registration
  const ports = Object.entries(registration.ports)
  return {
    unit: checkText('unit', unit, 1),
    instance: checkText('instance', instance),
    replica,
    kind: checkText('kind', kind),
    state: checkText('state', state),
    ready,
    services: checkList('services', services, MAX_ENTRIES, (service) => checkText('services', service, 1)),
    address: checkText('address', address),
    ports: Object.fromEntries(
      checkList('ports', ports, MAX_ENTRIES, ([name, port]) => [checkText('ports', name, 1), checkPort(port)]),
    ),
    ...(schedule === undefined ? {} : { schedule: claimFromProto(schedule) }),
    ...(tenure === undefined ? {} : { tenure: tenureFromProto(tenure) }),
    ...(registration.draining ? { draining: true } : {}),
    ...(onCall === undefined ? {} : { onCall: { holdMs: onCall.holdMs, starts: !onCall.waitsOnly } }),
    ...(registration.canary === undefined ? {} : { canary: canaryFromProto(registration.canary) }),
    ...(registration.version === '' ? {} : { version: checkText('version', registration.version) }),
  }
}

function canaryFromProto({ share, headers }: pb.Canary): Canary {
  if (share > WHOLE) throw new HsuError('USAGE', `a share of ${share} is more than all, ${WHOLE}`)
  const entries = checkList(
    'headers',
    Object.entries(headers),
    MAX_CANARY_HEADERS,
    ([name, value]): [string, string] => [checkText('headers', name, 1), checkText('headers', value)],
  )
  return { share, headers: Object.fromEntries<string>(entries) }
}

function claimFromProto({ schedule, tickMs, by, active }: pb.ScheduleClaim): ScheduleClaim {
  return {
    schedule: checkText('schedule', schedule, 1),
    tickMs: checkCount('tick_ms', tickMs),
    by: checkText('by', by),
    active,
  }
}

function tenureFromProto({ stand, term }: pb.Tenure): Tenure {
  return { stand: checkText('stand', stand, 1), term: checkCount('term', term) }
}

function checkPort(port: number): number {
  if (port > 65_535) throw new HsuError('USAGE', `${port} is not a port`)
  return port
}
