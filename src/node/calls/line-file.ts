import { type FileHandle, mkdir, open, rename, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { systemCode } from '../../base/error.ts'

/** Somewhere lines are added to. One writer at a time. */
export interface LineFile {
  /** Adds whole lines. After a failure any part of them may be there. */
  append(text: string): Promise<void>
  close(): Promise<void>
}

export interface LineFileConfig {
  /** Absolute; `stdout` = the standard output of this process. */
  readonly to: string
  /** A file that would be larger is put aside. */
  readonly maxBytes: number
  /** Files that were put aside and are kept: `.1` is the latest. */
  readonly keep: number
}

export function lineFile(config: LineFileConfig): LineFile {
  return config.to === 'stdout' ? standardOutput() : rotatingFile(config)
}

interface Opened {
  readonly file: FileHandle
  readonly inode: bigint
  bytes: number
}

/** A file of mode 0600, made with its directory when it is first written to. */
function rotatingFile({ to, maxBytes, keep }: LineFileConfig): LineFile {
  let current: Opened | undefined

  async function opened(): Promise<Opened> {
    if (current !== undefined) return current
    await mkdir(dirname(to), { recursive: true, mode: 0o750 })
    const file = await open(to, 'a', 0o600)
    const { ino, size } = await file.stat({ bigint: true })
    current = { file, inode: ino, bytes: Number(size) }
    return current
  }

  async function close(): Promise<void> {
    const file = current?.file
    current = undefined
    await file?.close()
  }

  /** Another process, or `logrotate`, may have put it aside already. */
  async function putAside(inode: bigint): Promise<void> {
    await close()
    const there = await stat(to, { bigint: true }).catch(() => undefined)
    if (there?.ino !== inode) return
    for (let number = keep - 1; number > 0; number -= 1) await renameIfThere(`${to}.${number}`, `${to}.${number + 1}`)
    await rename(to, `${to}.1`)
  }

  return {
    close,
    async append(text) {
      const bytes = Buffer.byteLength(text)
      let place = await opened()
      if (place.bytes > 0 && place.bytes + bytes > maxBytes) {
        await putAside(place.inode)
        place = await opened()
      }
      await place.file.appendFile(text)
      place.bytes += bytes
    },
  }
}

async function renameIfThere(from: string, to: string): Promise<void> {
  await rename(from, to).catch((error: unknown) => {
    if (systemCode(error) !== 'ENOENT') throw error
  })
}

function standardOutput(): LineFile {
  return {
    append: (text) =>
      new Promise((resolve, reject) => {
        process.stdout.write(text, (error) => {
          if (error === null || error === undefined) resolve()
          else reject(error)
        })
      }),
    close: async () => undefined,
  }
}
