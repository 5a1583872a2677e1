import { type FileHandle, mkdir, open, readdir, readFile, rm, stat, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { systemCode } from '../base/error.ts'
import { compareIds, isEventId } from './event-ids.ts'

/** A file of events, one a line, named by the id of its first one. */
export interface Segment {
  readonly id: string
  readonly bytes: number
  /** Wall clock. */
  readonly modifiedMs: number
}

/** Where events are kept. */
export interface EventDisk {
  /** Oldest first. */
  list(): Promise<readonly Segment[]>
  /** '' when it is gone. */
  read(id: string): Promise<string>
  /** Adds to the end of a segment, which is made when absent. After a failure any part of `text` may be there. */
  append(id: string, text: string): Promise<void>
  /** Makes durable what was appended. */
  sync(id: string): Promise<void>
  truncate(id: string, bytes: number): Promise<void>
  remove(id: string): Promise<void>
  close(): Promise<void>
}

const SUFFIX = '.jsonl'

/** Segments as files of mode 0600 in a directory of their own. The one that is written to is held open. */
export function fileEventDisk(directory: string): EventDisk {
  const pathOf = (id: string): string => join(directory, `${id}${SUFFIX}`)
  let current: { readonly id: string; readonly file: FileHandle } | undefined

  const opened = async (id: string): Promise<FileHandle> => {
    if (current?.id === id) return current.file
    await close()
    await mkdir(directory, { recursive: true, mode: 0o700 })
    const file = await open(pathOf(id), 'a', 0o600)
    current = { id, file }
    return file
  }
  const close = async (): Promise<void> => {
    const file = current?.file
    current = undefined
    await file?.close()
  }

  return {
    async list() {
      const names = await readdir(directory).catch(absentIs<string[]>([]))
      const ids = names.filter((name) => name.endsWith(SUFFIX)).map((name) => name.slice(0, -SUFFIX.length))
      const segments = await Promise.all(ids.filter(isEventId).map((id) => segmentOf(id, pathOf(id))))
      return segments.flatMap((segment) => segment ?? []).sort((one, other) => compareIds(one.id, other.id))
    },
    read: (id) => readFile(pathOf(id), 'utf8').catch(absentIs('')),
    append: async (id, text) => (await opened(id)).appendFile(text),
    sync: async (id) => (await opened(id)).datasync(),
    truncate: (id, bytes) => truncate(pathOf(id), bytes),
    remove: (id) => rm(pathOf(id), { force: true }),
    close,
  }
}

async function segmentOf(id: string, path: string): Promise<Segment | undefined> {
  const facts = await stat(path).catch(absentIs(undefined))
  return facts && { id, bytes: facts.size, modifiedMs: facts.mtimeMs }
}

function absentIs<T>(value: T): (error: unknown) => T {
  return (error) => {
    if (systemCode(error) === 'ENOENT') return value
    throw error
  }
}
