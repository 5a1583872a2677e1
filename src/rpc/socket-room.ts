import { lstat, mkdir, unlink } from 'node:fs/promises'
import { connect as dial } from 'node:net'
import { dirname } from 'node:path'
import { HsuError, messageOf } from '../base/error.ts'

/** `sun_path` holds 108 bytes with its final zero on Linux (unix(7)), 104 on macOS and BSD. */
const MAX_SOCKET_PATH_BYTES = process.platform === 'linux' ? 107 : 103

/** Makes sure that a socket can be bound there; `alone`: nobody may listen there yet, and what is left is removed. */
export async function makeRoom(socketPath: string, alone: boolean): Promise<void> {
  if (Buffer.byteLength(socketPath) > MAX_SOCKET_PATH_BYTES) {
    throw new HsuError(
      'CONFIG_INVALID',
      `cannot listen on ${socketPath}: a socket path has at most ${MAX_SOCKET_PATH_BYTES} bytes; choose a shorter data directory`,
      { details: { socketPath } },
    )
  }
  await mkdir(dirname(socketPath), { recursive: true, mode: 0o700 }).catch((cause: unknown) => {
    throw cannotListen(socketPath, messageOf(cause), cause)
  })
  const found = await lstat(socketPath).catch(() => undefined)
  if (found === undefined) return
  if (!found.isSocket()) throw cannotListen(socketPath, 'a file that is no socket is in the way')
  if (!alone) return
  if (await answers(socketPath)) {
    const message = `cannot listen on ${socketPath}: another process does; stop it, or choose another data directory`
    throw new HsuError('NODE_EXISTS', message, { details: { socketPath } })
  }
  await unlink(socketPath)
}

function answers(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = dial(socketPath)
    const settle = (answer: boolean): void => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('connect', () => settle(true))
    socket.once('error', () => settle(false))
  })
}

export function cannotListen(socketPath: string, why: string, cause?: unknown): HsuError {
  return new HsuError('CONFIG_INVALID', `cannot listen on ${socketPath}: ${why}`, { details: { socketPath }, cause })
}
