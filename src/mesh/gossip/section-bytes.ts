import { create, toBinary } from '@bufbuild/protobuf'
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import { HsuError, messageOf } from '../../base/error.ts'
import { SectionSchema } from '../gen/hsu/mesh/v1/mesh_pb.ts'
import type { Section } from '../member.ts'

const REGISTRATIONS = SectionSchema.field.registrations.number
const SIGNATURE = SectionSchema.field.signature.number

/** What a section says beside its registrations. */
export type SectionHead = Pick<Section, 'owner' | 'incarnation' | 'version'>

/** The section in the form that is signed, from its registrations in binary form: nothing that stays is encoded anew. */
export function joinSection({ owner, incarnation, version }: SectionHead, rows: readonly Uint8Array[]): Uint8Array {
  const head = { owner, incarnation: BigInt(incarnation), version: BigInt(version) }
  const writer = new BinaryWriter().raw(toBinary(SectionSchema, create(SectionSchema, head)))
  for (const row of rows) writer.tag(REGISTRATIONS, WireType.LengthDelimited).bytes(row)
  return writer.finish()
}

/** The registrations of such a section, each in binary form. @throws HsuError USAGE when the bytes are no message */
export function splitSection(bytes: Uint8Array): Uint8Array[] {
  return fieldsOf(bytes).flatMap(({ field, value }) => (field === REGISTRATIONS ? [value] : []))
}

/** A section as it travels. */
export function withSignature(bytes: Uint8Array, signature: Uint8Array): Uint8Array {
  return new BinaryWriter().raw(bytes).tag(SIGNATURE, WireType.LengthDelimited).bytes(signature).finish()
}

/** What the owner has signed of it: all the rest, as it stands. @throws HsuError USAGE when the bytes are no message */
export function withoutSignature(bytes: Uint8Array): Uint8Array {
  return Buffer.concat(fieldsOf(bytes).flatMap(({ field, whole }) => (field === SIGNATURE ? [] : [whole])))
}

interface Field {
  readonly field: number
  readonly value: Uint8Array
  /** With its tag. */
  readonly whole: Uint8Array
}

/** Stricter than the decoder of messages, which takes the end of a group that nothing began. */
function fieldsOf(bytes: Uint8Array): Field[] {
  const reader = new BinaryReader(bytes)
  const fields: Field[] = []
  try {
    while (reader.pos < reader.len) fields.push(nextField(reader, bytes))
  } catch (error) {
    throw new HsuError('USAGE', `section is no message: ${messageOf(error)}`)
  }
  return fields
}

function nextField(reader: BinaryReader, bytes: Uint8Array): Field {
  const start = reader.pos
  const [field, type] = reader.tag()
  const value = type === WireType.LengthDelimited ? reader.bytes() : reader.skip(type, field)
  return { field, value, whole: bytes.subarray(start, reader.pos) }
}
