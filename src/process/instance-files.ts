import { type FSWatcher, watch } from 'node:fs'
import { type FileHandle, mkdir, open, readdir, readFile } from 'node:fs/promises'
import { devNull } from 'node:os'
import { join } from 'node:path'
import { systemCode } from '../base/error.ts'
import { type Exit, exitOfStatus } from './exit.ts'
import type { InstancePlace } from './host.ts'

/** The files of an instance, open for its processes. */
export interface InstanceFiles {
  readonly stdout: number
  readonly stderr: number
  readonly pid: number
  readonly exit: number
  close(): Promise<void>
}

/**
 * Makes the directory (0700) and the files (0600) of an instance. Output is appended, so that cutting a file is safe.
 * Output files belong to `owner`, so that the program may open /dev/stdout anew.
 */
export async function openInstanceFiles(
  directory: string,
  owner: { readonly uid: number; readonly gid: number } | undefined,
  discardsOutput = false,
): Promise<InstanceFiles> {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const opened: FileHandle[] = []
  const close = async (): Promise<void> => {
    await Promise.all(opened.map((file) => file.close()))
  }
  const add = async (path: string): Promise<FileHandle> => {
    const file = await open(path, 'a', 0o600)
    opened.push(file)
    return file
  }
  const addOutput = async (name: string): Promise<number> => {
    if (discardsOutput) return (await add(devNull)).fd
    const file = await add(join(directory, name))
    if (owner !== undefined) await file.chown(owner.uid, owner.gid)
    return file.fd
  }
  const addRecord = async (name: string): Promise<number> => (await add(join(directory, name))).fd
  const adding = [addOutput('stdout'), addOutput('stderr'), addRecord('pid'), addRecord('exit')] as const
  try {
    const [stdout, stderr, pid, exit] = await Promise.all(adding)
    return { stdout, stderr, pid, exit, close }
  } catch (error) {
    await Promise.allSettled(adding)
    await close()
    throw error
  }
}

/** The pid the instance wrote; undefined when it has not (yet). */
export function readPid(directory: string): Promise<number | undefined> {
  return readNumber(join(directory, 'pid'))
}

/** How the instance ended; undefined when that is not recorded (yet). */
export async function readExit(directory: string): Promise<Exit | undefined> {
  const status = await readNumber(join(directory, 'exit'))
  return status === undefined ? undefined : exitOfStatus(status)
}

/** A number counts once its line is complete. */
async function readNumber(path: string): Promise<number | undefined> {
  const text = await readFile(path, 'latin1').catch(() => '')
  const match = /^(\d+)\n/.exec(text)
  return match === null ? undefined : Number(match[1])
}

/** Calls `onChange` when a file of the instance changes; where the system cannot tell, never. Returns how to end it. */
export function watchInstance(directory: string, onChange: () => void): () => void {
  let watcher: FSWatcher | undefined
  try {
    watcher = watch(directory, { persistent: false }, onChange)
    watcher.on('error', () => watcher?.close())
  } catch {
    // No watches left (ENOSPC) or none on this file system: whoever waits also looks from time to time.
  }
  return () => watcher?.close()
}

/** The instances below `runDir`; other files are passed over. */
export async function listInstances(runDir: string): Promise<readonly InstancePlace[]> {
  const places: InstancePlace[] = []
  for (const unit of await directoriesIn(runDir)) {
    for (const replica of await directoriesIn(join(runDir, unit))) {
      if (!/^\d+$/.test(replica)) continue
      for (const instance of await directoriesIn(join(runDir, unit, replica))) {
        places.push({ unit, replica: Number(replica), instance, directory: join(runDir, unit, replica, instance) })
      }
    }
  }
  return places
}

async function directoriesIn(path: string): Promise<string[]> {
  const entries = await readdir(path, { withFileTypes: true }).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return []
    throw error
  })
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name)
}
