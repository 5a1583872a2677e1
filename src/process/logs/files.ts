import { open, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { systemCode } from '../../base/error.ts'
import { PackedReader } from './block-gzip.ts'

/**
 * One of the files of a replica's log: `<replica>.<number>.log`, or `.log.gz` once it is compressed. The one with the highest
 * number is written. A number never belongs to another content, so that it tells a reader for ever where it was.
 */
export interface LogFile {
  readonly number: number
  readonly path: string
  readonly compressed: boolean
}

/** Whose log it is and where it lies. */
export interface LogPlace {
  readonly unit: string
  readonly replica: number
  readonly directory: string
}

/** A log file as it is read: its content, compressed or not. */
export interface LogSource {
  readonly number: number
  size(): Promise<number>
  /** `length` bytes from `offset` on; fewer only at the end. */
  read(offset: number, length: number): Promise<Buffer>
  close(): Promise<void>
}

const NAME = /^(\d+)\.(\d+)\.log(\.gz)?$/

/** The replica numbers that have logs in the directory of a unit. */
export async function replicasIn(directory: string): Promise<number[]> {
  const replicas = new Set((await namesIn(directory)).flatMap((name) => NAME.exec(name)?.[1] ?? []).map(Number))
  return [...replicas].sort((a, b) => a - b)
}

/** The names in a directory; none when there is no such directory. */
export async function namesIn(directory: string): Promise<string[]> {
  return readdir(directory).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return []
    throw error
  })
}

export function logPath(directory: string, replica: number, number: number): string {
  return join(directory, `${replica}.${number}.log`)
}

/** The files of a replica, newest first. */
export async function logFiles(directory: string, replica: number): Promise<LogFile[]> {
  const files = new Map<number, LogFile>()
  for (const name of await namesIn(directory)) {
    const [, whose, number, packed] = NAME.exec(name) ?? []
    if (Number(whose) !== replica || number === undefined) continue
    const file = { number: Number(number), path: join(directory, name), compressed: packed !== undefined }
    // While it is being compressed there are both, and the plain one is the truth.
    if (!file.compressed || !files.has(file.number)) files.set(file.number, file)
  }
  return [...files.values()].sort((a, b) => b.number - a.number)
}

/** Undefined when the file was deleted since it was listed. */
export async function openLogFile({ path, number, compressed }: LogFile): Promise<LogSource | undefined> {
  const plain = compressed ? path.slice(0, -'.gz'.length) : path
  // It may have been compressed since it was listed.
  return (await openPlain(plain, number)) ?? (await openPacked(`${plain}.gz`, number))
}

async function openPlain(path: string, number: number): Promise<LogSource | undefined> {
  const handle = await open(path, 'r').catch(ignoreAbsent)
  if (handle === undefined) return undefined
  return {
    number,
    size: async () => (await handle.stat()).size,
    async read(offset, length) {
      const { size } = await handle.stat()
      const buffer = Buffer.allocUnsafe(Math.max(0, Math.min(length, size - offset)))
      const { bytesRead } = buffer.length === 0 ? { bytesRead: 0 } : await handle.read(buffer, 0, buffer.length, offset)
      return buffer.subarray(0, bytesRead)
    },
    close: () => handle.close(),
  }
}

async function openPacked(path: string, number: number): Promise<LogSource | undefined> {
  const handle = await open(path, 'r').catch(ignoreAbsent)
  if (handle === undefined) return undefined
  try {
    const packed = await PackedReader.open(handle)
    return {
      number,
      size: async () => packed.size,
      read: (offset, length) => packed.read(offset, length),
      close: () => handle.close(),
    }
  } catch (error) {
    await handle.close()
    throw error
  }
}

/** Passes over ENOENT; for `catch`. */
export function ignoreAbsent(error: unknown): undefined {
  if (systemCode(error) !== 'ENOENT') throw error
  return undefined
}
