import { HsuError } from '../base/error.ts'
import type { Store } from '../base/store.ts'

const KEY = /^[a-z0-9_-][a-z0-9._-]*(\/[a-z0-9_-][a-z0-9._-]*)*$/i

/** What a disk holds: all that was written, and of that what would outlive a loss of power. */
export class SimDisk extends Map<string, Uint8Array> {
  readonly flushed = new Map<string, Uint8Array>()
  /** Writes that were waited for until they would outlive a loss of power. */
  flushes = 0
  /** No room is left: nothing can be written, what is there can be read and removed. */
  full = false
  /** Something could not be written because it was full. */
  wasFull = false

  /** What was written since it was last flushed comes back torn, or as it was before. */
  loseThePower(how: 'torn' | 'before'): void {
    for (const [key, value] of this) {
      const before = this.flushed.get(key)
      if (before === value) continue
      if (how === 'torn') this.set(key, value.subarray(0, value.length / 2))
      else if (before === undefined) this.delete(key)
      else this.set(key, before)
    }
  }
}

/** A `Store` in memory whose content outlives the object when `disk` is shared, as a disk outlives a process. */
export function simStore(disk: Map<string, Uint8Array> = new Map()): Store {
  const check = (key: string): string => {
    if (!KEY.test(key)) throw new HsuError('INTERNAL', `'${key}' is not a store key`, { details: { key } })
    return key
  }
  const store: Store = {
    async get(key) {
      return disk.get(check(key))
    },
    async put(key, value, outlives = 'power') {
      if (disk instanceof SimDisk && disk.full) {
        disk.wasFull = true
        throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' })
      }
      const written = Buffer.from(value)
      disk.set(check(key), written)
      if (!(disk instanceof SimDisk) || outlives === 'process') return
      disk.flushed.set(key, written)
      disk.flushes += 1
    },
    async delete(key) {
      disk.delete(check(key))
    },
    async list(prefix) {
      return [...disk.keys()].filter((key) => key.startsWith(prefix)).sort()
    },
    async setAside(key) {
      let number = 1
      while (disk.has(`${key}.corrupt-${number}`)) number += 1
      const aside = `${key}.corrupt-${number}`
      const value = disk.get(key)
      if (value !== undefined) disk.set(aside, value)
      disk.delete(key)
      return aside
    },
  }
  return store
}
