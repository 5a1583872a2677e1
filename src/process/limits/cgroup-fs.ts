import { mkdir, readdir, readFile, rmdir, writeFile } from 'node:fs/promises'
import { systemCode } from '../../base/error.ts'

/** The file system of control groups: a directory is a group, its files are made by the kernel. */
export interface CgroupFs {
  read(path: string): Promise<string>
  /** One write call, as the kernel wants it. */
  write(path: string, text: string): Promise<void>
  /** True when it was not there before. The directory above must be there. */
  mkdir(path: string): Promise<boolean>
  /** False when a process or a group is still in it. */
  rmdir(path: string): Promise<boolean>
  /** Names of the groups in it; none when it is not there. */
  groups(path: string): Promise<readonly string[]>
}

export const systemCgroupFs: CgroupFs = {
  read: (path) => readFile(path, 'utf8'),
  write: (path, text) => writeFile(path, text, { flag: 'r+' }),
  mkdir: (path) =>
    mkdir(path).then(
      () => true,
      (error: unknown) => unless(error, ['EEXIST']),
    ),
  rmdir: (path) =>
    rmdir(path).then(
      () => true,
      (error: unknown) => systemCode(error) === 'ENOENT' || unless(error, ['EBUSY', 'ENOTEMPTY']),
    ),
  async groups(path) {
    const entries = await readdir(path, { withFileTypes: true }).catch((error: unknown) => {
      unless(error, ['ENOENT'])
      return []
    })
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name)
  },
}

/** @throws the error, unless it has one of these codes */
function unless(error: unknown, codes: readonly string[]): false {
  if (codes.includes(systemCode(error) ?? '')) return false
  throw error
}

/** The content of a file; undefined when it cannot be read. */
export function readIfThere(fs: CgroupFs, path: string): Promise<string | undefined> {
  return fs.read(path).catch(() => undefined)
}

/** The whole number a file holds; undefined when it holds none. */
export async function readCount(fs: CgroupFs, path: string): Promise<number | undefined> {
  const text = (await readIfThere(fs, path))?.trim() ?? ''
  return /^\d+$/.test(text) ? Number(text) : undefined
}

/** The number behind `key` in a file of `key number` lines. */
export async function readKeyed(fs: CgroupFs, path: string, key: string): Promise<number | undefined> {
  const line = (await readIfThere(fs, path))?.split('\n').find((each) => each.startsWith(`${key} `))
  return line === undefined ? undefined : Number(line.slice(key.length + 1))
}

/** The processes of a group. */
export async function readPids(fs: CgroupFs, group: string): Promise<readonly number[]> {
  const text = (await readIfThere(fs, `${group}/cgroup.procs`)) ?? ''
  // A process of another pid namespace shows as 0: nothing that could be signalled from here.
  return [...new Set(text.split('\n').map(Number))].filter((pid) => pid > 0)
}
