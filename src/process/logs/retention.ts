import { type FileHandle, open, rename, rm, stat, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { MEMBER_BYTES, packMember } from './block-gzip.ts'
import { ignoreAbsent, type LogFile, logFiles, namesIn } from './files.ts'

/** How much of a replica's log is kept. */
export interface Retention {
  /** Number of files, the one being written included. */
  readonly keep: number
  /** Files whose last line is older are deleted; undefined = whatever their age. */
  readonly maxAgeMs: number | undefined
  /** Whether files are compressed once they are full. */
  readonly compress: boolean
}

interface Place {
  readonly directory: string
  readonly replica: number
}

/** Deletes the files beyond `keep`, and those that are too old. The newest is never deleted. */
export async function prune(place: Place, { keep, maxAgeMs }: Retention, nowMs: number): Promise<void> {
  const [, ...rotated] = await logFiles(place.directory, place.replica)
  const beyond = rotated.slice(Math.max(0, keep - 1))
  const oldest = maxAgeMs === undefined ? -Infinity : nowMs - maxAgeMs
  for (const file of rotated) {
    if (beyond.includes(file) || (await changedAtMs(file)) < oldest) await remove(file)
  }
}

/** Both forms: it may be being compressed just now. */
async function remove({ path, compressed }: LogFile): Promise<void> {
  const plain = compressed ? path.slice(0, -'.gz'.length) : path
  await rm(plain, { force: true })
  await rm(`${plain}.gz`, { force: true })
}

async function changedAtMs({ path }: LogFile): Promise<number> {
  return (await stat(path).catch(ignoreAbsent))?.mtimeMs ?? Infinity
}

/** Compresses the full files that are not yet, newest first: the older ones are the sooner deleted. */
export async function compressRotated(place: Place, signal: AbortSignal): Promise<void> {
  await removeUnfinished(place)
  const [, ...rotated] = await logFiles(place.directory, place.replica)
  for (const file of rotated) {
    if (signal.aborted) return
    if (!file.compressed) await compress(file, signal)
  }
}

/**
 * Whatever moment it is interrupted at, the lines are there in one of the two forms: the plain file is deleted when the other is
 * complete and on the disk.
 */
async function compress({ path }: LogFile, signal: AbortSignal): Promise<void> {
  const unfinished = `${path}.gz.tmp`
  const from = await open(path, 'r').catch(ignoreAbsent)
  if (from === undefined) return
  try {
    const { atime, mtime } = await from.stat()
    const to = await open(unfinished, 'w', 0o600)
    try {
      await pack(from, to, signal)
      await to.datasync()
    } finally {
      await to.close()
    }
    // The age of a file is that of its last line.
    await utimes(unfinished, atime, mtime)
    const isKept = !signal.aborted && (await stat(path).catch(ignoreAbsent)) !== undefined
    if (isKept) await rename(unfinished, `${path}.gz`)
    if (isKept) await rm(path, { force: true })
  } finally {
    await from.close()
    await rm(unfinished, { force: true })
  }
}

async function pack(from: FileHandle, to: FileHandle, signal: AbortSignal): Promise<void> {
  const content = Buffer.alloc(MEMBER_BYTES)
  while (!signal.aborted) {
    const { bytesRead } = await from.read(content, 0, MEMBER_BYTES)
    if (bytesRead === 0) return
    await to.writeFile(await packMember(content.subarray(0, bytesRead)))
  }
}

/** Deletes what a node that was killed while it compressed left behind. */
async function removeUnfinished({ directory, replica }: Place): Promise<void> {
  const names = (await namesIn(directory)).filter(
    (name) => name.startsWith(`${replica}.`) && name.endsWith('.log.gz.tmp'),
  )
  for (const name of names) await rm(join(directory, name), { force: true })
}
