import { randomBytes } from 'node:crypto'
import { HsuError } from '../base/error.ts'

/** Length of a mesh key; libp2p's private networks take 32 bytes (libp2p specs, pnet). */
const KEY_BYTES = 32

const PREFIX = 'hsu-mesh-key-v1:'

/** The content of a new key file: one line that says what it is. The key comes from the system's randomness. */
export function createMeshKey(): string {
  return `${PREFIX}${randomBytes(KEY_BYTES).toString('base64')}\n`
}

/** @throws HsuError CONFIG_INVALID naming the file */
export function parseMeshKey(text: string, file: string): Uint8Array {
  const line = text.trim()
  const key = Buffer.from(line.slice(PREFIX.length), 'base64')
  if (line.startsWith(PREFIX) && key.length === KEY_BYTES) return key
  throw new HsuError('CONFIG_INVALID', `${file}: is not a mesh key; make one with hsu mesh create --out FILE`, {
    details: { file },
  })
}
