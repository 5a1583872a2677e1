import { create, toBinary } from '@bufbuild/protobuf'
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
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

/** The registrations of such a section, each in binary form. @throws Error when the bytes are no message */
export function splitSection(bytes: Uint8Array): Uint8Array[] {
  return fieldsOf(bytes).flatMap(({ field, value }) => (field === REGISTRATIONS ? [value] : []))
}

/** A section as it travels. */
export function withSignature(bytes: Uint8Array, signature: Uint8Array): Uint8Array {
  return new BinaryWriter().raw(bytes).tag(SIGNATURE, WireType.LengthDelimited).bytes(signature).finish()
}

/** What the owner has signed of it: all the rest, as it stands. @throws Error when the bytes are no message */
export function withoutSignature(bytes: Uint8Array): Uint8Array {
  return Buffer.concat(fieldsOf(bytes).flatMap(({ field, whole }) => (field === SIGNATURE ? [] : [whole])))
}

function fieldsOf(bytes: Uint8Array): { field: number; value: Uint8Array; whole: Uint8Array }[] {
  const reader = new BinaryReader(bytes)
  const fields = []
  while (reader.pos < reader.len) {
    const start = reader.pos
    const [field, type] = reader.tag()
    const value = type === WireType.LengthDelimited ? reader.bytes() : reader.skip(type, field)
    fields.push({ field, value, whole: bytes.subarray(start, reader.pos) })
  }
  return fields
}
