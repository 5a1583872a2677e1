import { bytesToSign, sectionToProto } from '../gossip/items.ts'
import { type Identity, verifySigned } from '../identity.ts'
import type { Section } from '../member.ts'

/** Goes before the section in what is signed, so that the signature is good for nothing else. */
const DOMAIN = new TextEncoder().encode('hsu.mesh.v1.Section\n')

/** The section with the signature of its owner. */
export function signSection(
  identity: Pick<Identity, 'sign'>,
  { owner, incarnation, version, registrations }: Section,
): Section {
  const plain = { owner, incarnation, version, registrations }
  const bytes = bytesToSign(sectionToProto(plain))
  return { ...plain, signed: { bytes, signature: identity.sign(withDomain(bytes)) } }
}

/** Whether the node that the section names as its owner has signed it as it is. Costs about 0.1 ms and 4 ms a megabyte. */
export function isGenuineSection({ owner, signed }: Section): boolean {
  return signed !== undefined && verifySigned(owner, withDomain(signed.bytes), signed.signature)
}

function withDomain(bytes: Uint8Array): Uint8Array {
  return Buffer.concat([DOMAIN, bytes])
}
