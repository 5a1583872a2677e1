import { link, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { systemCode } from './error.ts'

/** Who holds a lock; `token` tells this run of a process from every other (start time and boot id, never a bare pid). */
export interface LockHolder {
  readonly pid: number
  readonly token: string
  /** Shown to whoever comes second. */
  readonly name: string
}

export interface FileLock {
  /** Gives the lock back; a no-op when it is no longer ours. */
  release(): Promise<void>
  /** Makes `next` the holder in one step, with which it then acquires it: at no moment can a third one take it. */
  passTo(next: LockHolder): Promise<void>
}

/** What is in the file. */
interface LockEntry extends LockHolder {
  /** True until the one it was passed to has acquired it. */
  readonly passed?: boolean
}

/** How often to try when others come and go at the same moment. */
const MAX_TRIES = 10

/**
 * Takes the lock file at `path` for `self`, or returns who holds it. The lock of a process that is gone
 * (`isAlive` says no) is taken over, and so is one that was passed to `self`. Made by writing a private file and linking it
 * into place, so the lock appears whole and only once.
 */
export async function acquireFileLock(
  path: string,
  self: LockHolder,
  isAlive: (holder: LockHolder) => Promise<boolean>,
): Promise<FileLock | LockHolder> {
  const draft = `${path}.${self.pid}`
  await writeFile(draft, JSON.stringify(self), { mode: 0o600 })
  try {
    let holder = self
    for (let attempt = 0; attempt < MAX_TRIES; attempt += 1) {
      if (await linked(draft, path)) return lockOf(path, self)
      const found = await readEntry(path)
      if (found === undefined) continue
      const { passed, ...present } = found
      if (passed === true && isSame(present, self)) {
        await rename(draft, path)
        return lockOf(path, self)
      }
      holder = present
      if (await isAlive(holder)) return holder
      await removeStale(path, holder, `${draft}.stale`)
    }
    return holder
  } finally {
    await rm(draft, { force: true })
  }
}

function lockOf(path: string, self: LockHolder): FileLock {
  return {
    release: () => release(path, self),
    async passTo(next) {
      const draft = `${path}.${next.pid}.passed`
      const entry: LockEntry = { ...next, passed: true }
      await writeFile(draft, JSON.stringify(entry), { mode: 0o600 })
      await rename(draft, path)
    },
  }
}

async function linked(draft: string, path: string): Promise<boolean> {
  return link(draft, path).then(
    () => true,
    (error: unknown) => {
      if (systemCode(error) === 'EEXIST') return false
      throw error
    },
  )
}

/** Moves the stale lock away; when somebody else's fresh lock was moved by mistake, puts it back. */
async function removeStale(path: string, stale: LockHolder, aside: string): Promise<void> {
  await rename(path, aside).catch(ignoreAbsent)
  const moved = await readEntry(aside)
  if (moved !== undefined && !isSame(moved, stale)) await link(aside, path).catch(() => undefined)
  await rm(aside, { force: true })
}

async function release(path: string, self: LockHolder): Promise<void> {
  const holder = await readEntry(path)
  if (holder !== undefined && isSame(holder, self)) await rm(path, { force: true })
}

/** Undefined when there is no lock. A lock that cannot be understood is one that nobody alive holds. */
async function readEntry(path: string): Promise<LockEntry | undefined> {
  const text = await readFile(path, 'utf8').catch(ignoreAbsent)
  if (text === undefined) return undefined
  try {
    const { pid, token, name, passed } = JSON.parse(text) as Partial<LockEntry>
    return { pid: Number(pid), token: String(token), name: String(name), passed: passed === true }
  } catch {
    return { pid: 0, token: '', name: 'unreadable' }
  }
}

function isSame(one: LockHolder, other: LockHolder): boolean {
  return one.pid === other.pid && one.token === other.token
}

function ignoreAbsent(error: unknown): undefined {
  if (systemCode(error) === 'ENOENT') return undefined
  throw error
}
