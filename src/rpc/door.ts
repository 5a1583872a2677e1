import { chmod, lstat, rename, unlink } from 'node:fs/promises'
import type { Server } from 'node:net'
import { dirname, join } from 'node:path'
import type { Service } from '../base/lifecycle.ts'

/** Somewhere callers come in. */
export interface Door extends Service {
  /** Lets callers in, when `start` was told to wait with that. */
  open(): Promise<void>
  /** Leaves new callers to the process that has taken over the door, and lets calls under way go on for `graceMs`. */
  retire(graceMs: number): Promise<void>
}

/** A listening TCP socket that can go to another process. */
export interface DoorHandle {
  readonly fd: number
  /** The real `host:port`. */
  readonly address: string
  /** As it was configured; one that is configured otherwise is another door. */
  readonly configured: string
}

/** The descriptor of a listening socket; Node.js has no public name for it. Undefined on Windows, where sockets have no numbers, and once it is closed. */
export function descriptorOf(server: Server): number | undefined {
  const { _handle: handle } = server as Server & { readonly _handle?: { readonly fd?: number } | null }
  const fd = handle?.fd ?? -1
  return fd >= 0 ? fd : undefined
}

/**
 * The path of a unix socket, which changes hands while clients connect: a socket is bound beside its place and renamed
 * into it. So it appears with its mode, replaces that of the process before it in one step, and libuv, which unlinks the
 * path it bound when the listener is closed, finds nothing there.
 */
export interface SocketPlace {
  /** Where to bind; its name is at most as long as `api.sock`: a socket path has few bytes. */
  readonly aside: string
  /** Moves what was bound aside into the place. */
  occupy(): Promise<void>
  /** Removes the socket, unless another process has taken the place. */
  vacate(): Promise<void>
}

export function socketPlace(path: string): SocketPlace {
  // A named pipe has no place in a directory.
  if (process.platform === 'win32') return { aside: path, occupy: nothing, vacate: nothing }
  places = (places + 1) % RADIX
  const aside = join(dirname(path), `.${process.pid.toString(RADIX)}${places.toString(RADIX)}`)
  let inode: bigint | undefined
  return {
    aside,
    async occupy() {
      await chmod(aside, 0o600)
      inode = await inodeOf(aside)
      await rename(aside, path)
    },
    async vacate() {
      if (inode !== undefined && (await inodeOf(path)) === inode) await unlink(path).catch(() => undefined)
      inode = undefined
    },
  }
}

/** Makes the names aside short: `.2hwcg7` is the longest on Linux, where pids end at 2^22. */
const RADIX = 36
let places = 0

async function nothing(): Promise<void> {
  // There is nothing to do.
}

async function inodeOf(path: string): Promise<bigint | undefined> {
  return lstat(path, { bigint: true }).then(
    ({ ino }) => ino,
    () => undefined,
  )
}
