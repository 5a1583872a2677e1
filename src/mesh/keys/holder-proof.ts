import { keyedCode, sameCode } from './mesh-key.ts'

/** Length of a proof in bytes. */
export const PROOF_BYTES = 16

/** Shows those who have `key`, and only those, that node `nodeId` has it too; in hexadecimal digits. */
export function holderProof(key: Uint8Array, nodeId: string): string {
  const bytes = keyedCode(key, 'holder of a mesh key', new TextEncoder().encode(nodeId), PROOF_BYTES)
  return Buffer.from(bytes).toString('hex')
}

/** Whether one of `proofs` shows that node `nodeId` has `key`. */
export function provesHolder(proofs: readonly string[], key: Uint8Array, nodeId: string): boolean {
  const expected = Buffer.from(holderProof(key, nodeId), 'hex')
  return proofs.some((proof) => sameCode(expected, Buffer.from(proof, 'hex')))
}
