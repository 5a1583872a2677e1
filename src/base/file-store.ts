import { type FileHandle, mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { dirname, join, relative, sep } from 'node:path'
import { HsuError, systemCode } from './error.ts'
import type { Store } from './store.ts'

const KEY = /^[a-z0-9_-][a-z0-9._-]*(\/[a-z0-9_-][a-z0-9._-]*)*$/i
const TEMPORARY = '.tmp'

/**
 * A `Store` in a directory: one file a key, mode 0600 in directories of mode 0700.
 * A value is written beside its place, flushed, and renamed into it; then the directory is flushed. What need not outlive
 * the power is not flushed.
 */
export function fileStore(root: string): Store {
  const pathOf = (key: string): string => {
    if (!KEY.test(key)) throw new HsuError('INTERNAL', `'${key}' is not a store key`, { details: { key } })
    return join(root, ...key.split('/'))
  }

  return {
    async get(key) {
      return readFile(pathOf(key)).catch(absentIs(undefined))
    },

    async put(key, value, outlives = 'power') {
      const path = pathOf(key)
      const temporary = `${path}${TEMPORARY}`
      const write = (): Promise<void> =>
        withFile(temporary, 'w', async (file) => {
          await file.writeFile(value)
          if (outlives === 'power') await file.sync()
        })
      await write().catch(async (error: unknown) => {
        if (systemCode(error) !== 'ENOENT') throw error
        await mkdir(dirname(path), { recursive: true, mode: 0o700 })
        await write()
      })
      await rename(temporary, path)
      if (outlives === 'power') await syncDirectory(dirname(path))
    },

    async delete(key) {
      await rm(pathOf(key), { force: true })
    },

    async list(prefix) {
      const slash = prefix.lastIndexOf('/')
      const start = slash === -1 ? root : pathOf(prefix.slice(0, slash))
      const keys: string[] = []
      for await (const path of filesBelow(start)) keys.push(relative(root, path).split(sep).join('/'))
      return keys.filter((key) => key.startsWith(prefix)).sort()
    },

    async setAside(key) {
      const taken = new Set(await this.list(`${key}.corrupt-`))
      let number = 1
      while (taken.has(`${key}.corrupt-${number}`)) number += 1
      const aside = `${key}.corrupt-${number}`
      await rename(pathOf(key), pathOf(aside))
      return aside
    },
  }
}

/** All values below a directory. A directory that is not there, or vanishes meanwhile, holds none; the others still do. */
async function* filesBelow(directory: string): AsyncGenerator<string> {
  for (const entry of await readdir(directory, { withFileTypes: true }).catch(absentIs([]))) {
    const path = join(directory, entry.name)
    if (entry.isDirectory()) yield* filesBelow(path)
    else if (entry.isFile() && !entry.name.endsWith(TEMPORARY)) yield path
  }
}

async function withFile(path: string, flags: string, task: (file: FileHandle) => Promise<void>): Promise<void> {
  const file = await open(path, flags, 0o600)
  try {
    await task(file)
  } finally {
    await file.close()
  }
}

/** Makes a rename durable. Some systems (Windows) cannot open a directory; there the rename itself must do. */
async function syncDirectory(path: string): Promise<void> {
  await withFile(path, 'r', (directory) => directory.sync()).catch((error: unknown) => {
    if (!['EISDIR', 'EPERM', 'EINVAL', 'ENOTSUP'].includes(systemCode(error) ?? '')) throw error
  })
}

function absentIs<T>(value: T): (error: unknown) => T {
  return (error) => {
    if (systemCode(error) === 'ENOENT') return value
    throw error
  }
}
