import { HsuError } from '../base/error.ts'
import { MESH_KEY_BYTES, meshKeyFingerprint, newMeshKey } from '../mesh/index.ts'

const PREFIX = 'hsu-mesh-key-v1:'

/** The most keys that one file may hold: the one in force, and the one it takes the place of. */
const MAX_KEYS = 2

/** The content of a file with a new mesh key. */
export function createMeshKey(): string {
  return formatMeshKeys([newMeshKey()])
}

/** The content of a key file: a line for each key, the newest first. */
export function formatMeshKeys(keys: readonly Uint8Array[]): string {
  return keys.map((key) => `${PREFIX}${Buffer.from(key).toString('base64')}\n`).join('')
}

/** The keys in a file, newest first; lines that begin with # are for people. @throws HsuError CONFIG_INVALID naming the file */
export function parseMeshKeys(text: string, file: string): readonly Uint8Array[] {
  const lines = text.split('\n').map((line) => line.trim())
  const keys = lines.filter((line) => line !== '' && !line.startsWith('#')).map(parseLine)
  const good = keys.filter((key) => key !== undefined)
  if (good.length === keys.length && good.length > 0 && good.length <= MAX_KEYS) return good
  const why = good.length > MAX_KEYS ? `holds more than ${MAX_KEYS} keys` : 'is not a mesh key'
  throw new HsuError('CONFIG_INVALID', `${file}: ${why}; make one with hsu mesh create --out FILE`, {
    details: { file },
  })
}

function parseLine(line: string): Uint8Array | undefined {
  const key = Buffer.from(line.slice(PREFIX.length), 'base64')
  return line.startsWith(PREFIX) && key.length === MESH_KEY_BYTES ? Uint8Array.from(key) : undefined
}

/** The fingerprints of the keys in a file, newest first. @throws HsuError CONFIG_INVALID naming the file */
export function meshKeyFingerprints(text: string, file: string): readonly string[] {
  return parseMeshKeys(text, file).map(meshKeyFingerprint)
}
