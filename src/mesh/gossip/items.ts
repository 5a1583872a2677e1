import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { HsuError } from '../../base/error.ts'
import * as pb from '../gen/hsu/mesh/v1/mesh_pb.ts'
import { MAX_ENTRIES, MAX_RECORD_BYTES, MAX_REGISTRATIONS, MAX_SECTION_BYTES } from '../limits.ts'
import type { Digest, Registration, Rumour, ScheduleClaim, Section, Unverified } from '../member.ts'
import type { MemberStatus } from '../merge.ts'
import { checkCount, checkList, checkText } from './check.ts'

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

export function sectionToProto(section: Section): pb.Section {
  if (section.signed !== undefined) {
    const { bytes, signature } = section.signed
    return { ...fromBinary(pb.SectionSchema, bytes), signature }
  }
  return create(pb.SectionSchema, {
    owner: section.owner,
    incarnation: BigInt(section.incarnation),
    version: BigInt(section.version),
    registrations: section.registrations.map(registrationToProto),
  })
}

/** How large a section is when sent, in bytes. */
export function sectionBytes(section: Section): number {
  const { signed } = section
  if (signed !== undefined) return signed.bytes.length + signed.signature.length
  return toBinary(pb.SectionSchema, sectionToProto(section)).length
}

/** @throws HsuError USAGE */
export function sectionFromProto(section: pb.Section): Section {
  return {
    owner: checkText('owner', section.owner, 1),
    incarnation: checkCount('incarnation', section.incarnation),
    version: checkCount('version', section.version),
    registrations: checkList('registrations', section.registrations, MAX_REGISTRATIONS, registrationFromProto),
    ...signedOf(section),
  }
}

/**
 * What the signature of a section is over: the section itself, without it. Fields that this version does not know are in
 * it where they were, so that a section of a newer node keeps its signature when this one passes it on.
 */
export function bytesToSign(section: pb.Section): Uint8Array {
  return toBinary(pb.SectionSchema, { ...section, signature: new Uint8Array() })
}

function signedOf(section: pb.Section): Pick<Section, 'signed'> {
  const { signature } = section
  if (signature.length === 0) return {}
  const bytes = bytesToSign(section)
  if (bytes.length > MAX_SECTION_BYTES) throw new HsuError('USAGE', `section has ${bytes.length} bytes`)
  return { signed: { bytes, signature } }
}

function registrationToProto(registration: Registration) {
  const { services, ports, schedule, ...rest } = registration
  const claim = schedule === undefined ? {} : { schedule: { ...schedule, tickMs: BigInt(schedule.tickMs) } }
  return { ...rest, services: [...services], ports: { ...ports }, ...claim }
}

function registrationFromProto(registration: pb.Registration): Registration {
  const { unit, instance, replica, kind, state, ready, services, address, schedule } = registration
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
  }
}

function claimFromProto({ schedule, tickMs, by, active }: pb.ScheduleClaim): ScheduleClaim {
  return {
    schedule: checkText('schedule', schedule, 1),
    tickMs: checkCount('tick_ms', tickMs),
    by: checkText('by', by),
    active,
  }
}

function checkPort(port: number): number {
  if (port > 65_535) throw new HsuError('USAGE', `${port} is not a port`)
  return port
}
