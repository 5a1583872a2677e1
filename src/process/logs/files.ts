import { type FileHandle, open, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { systemCode } from '../../base/error.ts'

/** One of the files of a replica's log: `N.log` is written, `N.log.1` the one before, and so on. */
export interface LogFile {
  readonly path: string
  /** Stays with the content when the file is renamed by rotation. */
  readonly inode: number
}

/** The replica numbers that have logs in the directory of a unit. */
export async function replicasIn(directory: string): Promise<number[]> {
  const replicas = new Set<number>()
  for (const name of await namesIn(directory)) {
    const replica = /^(\d+)\.log(\.\d+)?$/.exec(name)?.[1]
    if (replica !== undefined) replicas.add(Number(replica))
  }
  return [...replicas].sort((a, b) => a - b)
}

/** The names in a directory; none when there is no such directory. */
export async function namesIn(directory: string): Promise<string[]> {
  return readdir(directory).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return []
    throw error
  })
}

export function currentPath(directory: string, replica: number): string {
  return join(directory, `${replica}.log`)
}

/** The numbers N of the rotated files `<replica>.log.N`, newest (1) first. */
export async function rotatedNumbers(directory: string, replica: number): Promise<number[]> {
  const prefix = `${replica}.log.`
  const numbers = (await namesIn(directory)).flatMap((name) =>
    name.startsWith(prefix) && /^\d+$/.test(name.slice(prefix.length)) ? [Number(name.slice(prefix.length))] : [],
  )
  return numbers.sort((a, b) => a - b)
}

/**
 * The files of a replica, newest first. They are looked at in this order because rotation only makes files older:
 * one that is renamed meanwhile is seen twice, and left out the second time, but not missed.
 */
export async function logFiles(directory: string, replica: number): Promise<LogFile[]> {
  const current = currentPath(directory, replica)
  const files = new Map<number, LogFile>()
  const look = async (path: string): Promise<boolean> => {
    const inode = await inodeOf(path)
    if (inode !== undefined && !files.has(inode)) files.set(inode, { path, inode })
    return inode !== undefined
  }
  await look(current)
  let number = 0
  for (number of await rotatedNumbers(directory, replica)) await look(`${current}.${number}`)
  // The oldest may have got a new number since the numbers were listed.
  do number += 1
  while (await look(`${current}.${number}`))
  return [...files.values()]
}

/** Undefined when there is no such file. */
export async function inodeOf(path: string): Promise<number | undefined> {
  return (await stat(path).catch(ignoreAbsent))?.ino
}

/** Undefined when the file was renamed or deleted since it was listed. */
export async function openLogFile({ path, inode }: LogFile): Promise<FileHandle | undefined> {
  const handle = await open(path, 'r').catch(ignoreAbsent)
  if (handle === undefined || (await handle.stat()).ino === inode) return handle
  await handle.close()
  return undefined
}

/** Passes over ENOENT; for `catch`. */
export function ignoreAbsent(error: unknown): undefined {
  if (systemCode(error) !== 'ENOENT') throw error
  return undefined
}

const BLOCK_BYTES = 256 * 1024
const LF = 0x0a

/** A complete line of a file and where it begins. */
export interface PlacedLine {
  readonly start: number
  readonly bytes: Buffer
}

/** The complete lines of the first `end` bytes, last first, read in blocks from the end. */
export async function* linesBackward(handle: FileHandle, end: number): AsyncGenerator<PlacedLine> {
  let position = end
  // The beginning of what lies between `position` and the lines already given.
  let rest = Buffer.alloc(0)
  let complete = false
  while (position > 0) {
    const length = Math.min(BLOCK_BYTES, position)
    position -= length
    const block = await readExactly(handle, position, length)
    const text = Buffer.concat([block, rest])
    let to = text.length
    for (let at = lastBreak(text, to); at >= 0; at = lastBreak(text, to)) {
      // What follows the very last line end is not complete, and skipped.
      if (complete) yield { start: position + at + 1, bytes: text.subarray(at + 1, to) }
      complete = true
      to = at
    }
    rest = text.subarray(0, to)
  }
  if (complete) yield { start: 0, bytes: rest }
}

/** The last LF before `to`; -1 when there is none. (To `lastIndexOf`, a negative position counts from the end.) */
function lastBreak(text: Buffer, to: number): number {
  return to === 0 ? -1 : text.lastIndexOf(LF, to - 1)
}

async function readExactly(handle: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(length)
  let filled = 0
  while (filled < length) {
    const { bytesRead } = await handle.read(buffer, filled, length - filled, position + filled)
    if (bytesRead === 0) break
    filled += bytesRead
  }
  return buffer.subarray(0, filled)
}
