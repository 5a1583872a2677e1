import { HsuError } from '../../src/base/error.ts'
import type { Store } from '../../src/base/store.ts'

const KEY = /^[a-z0-9_-][a-z0-9._-]*(\/[a-z0-9_-][a-z0-9._-]*)*$/i

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
    async put(key, value) {
      disk.set(check(key), Buffer.from(value))
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
