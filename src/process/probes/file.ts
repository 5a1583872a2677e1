import { stat } from 'node:fs/promises'
import type { Probe } from '../probe.ts'

/** Passing while the file exists; a link counts as what it points to. */
export function fileProbe(path: string): Probe {
  return async () => {
    try {
      await stat(path)
      return true
    } catch (cause) {
      throw new Error(`${path}: ${isAbsent(cause) ? 'no such file' : 'cannot be looked at'}`, { cause })
    }
  }
}

function isAbsent(thrown: unknown): boolean {
  const { code } = thrown as { code?: unknown }
  return code === 'ENOENT' || code === 'ENOTDIR'
}
