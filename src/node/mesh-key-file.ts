import { readFile } from 'node:fs/promises'
import { messageOf } from '../base/error.ts'
import type { Log } from '../base/log.ts'
import { replaceFile } from '../base/replace-file.ts'
import { formatMeshKeys } from './mesh-key.ts'

/**
 * Puts mesh keys into the key file in one step, so that a copy of it is good. A file that cannot be written (it belongs to
 * somebody else, or to a tool) is reported; the node itself needs it no more, as its data directory has the keys too.
 */
export function keyFileWriter(file: string, log: Log): (keys: readonly Uint8Array[]) => Promise<void> {
  return async (keys) => {
    const content = formatMeshKeys(keys.slice(0, 2))
    try {
      if ((await readFile(file, 'utf8').catch(() => '')) !== content) await replaceFile(file, content)
    } catch (error) {
      const advice = 'the keys are in the data directory; do not copy this file to other hosts'
      log.warn(`mesh key file cannot be brought up to date; ${advice}`, { file, cause: messageOf(error) })
    }
  }
}
