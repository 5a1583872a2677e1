import { readdir, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type FSWatcher, watch } from 'chokidar'
import type { Clock } from '../../base/clock.ts'
import { messageOf, systemCode } from '../../base/error.ts'
import { createTaskGroup } from '../../base/task-group.ts'
import type { FileWatcher, WatchListener, WatchRequest } from './file-watcher.ts'

/** What to do when the system gives no more watches (inotify(7)). */
const NO_MORE_WATCHES =
  'the system gives no more watches; raise fs.inotify.max_user_watches (sysctl), or watch fewer directories'

/**
 * What chokidar 5.0.0 misses is made good after this: it reads a new directory before it watches it, and what is made there
 * between the two is lost; and it does not see that a directory was removed when it is back at once, and watches the old one.
 */
const LOOK_AGAIN_MS = 500

/** The real end of the seam. */
export function chokidarWatcher(clock: Clock): FileWatcher {
  return {
    async watch(request, listener) {
      const starts = await Promise.all(request.roots.map((root) => nearestDirectory(dirname(root))))
      const watching = new Watching(clock, [...new Set(starts)], request, listener)
      await watching.begun
      return () => watching.end()
    },
  }
}

class Watching {
  /** Resolves when changes are told from now on, or it is over. */
  readonly begun: Promise<void>
  readonly #clock: Clock
  readonly #watcher: FSWatcher
  readonly #listener: WatchListener
  readonly #maxEntries: number
  /** All that is watched; of a directory with its inode. */
  readonly #entries = new Map<string, number | undefined>()
  readonly #doubted = new Set<string>()
  #tells = false
  #begin = (): void => undefined
  readonly #tasks = createTaskGroup((error) => this.#fail(messageOf(error)))
  #ended: Promise<void> | undefined

  constructor(clock: Clock, starts: string[], { roots, isIgnored, maxEntries }: WatchRequest, listener: WatchListener) {
    this.#clock = clock
    this.#listener = listener
    this.#maxEntries = maxEntries
    this.begun = new Promise((resolve) => {
      this.#begin = resolve
    })
    // A file that an editor saves by a rename has changed once (`atomic`).
    const options = { ignorePermissionErrors: true, atomic: true, persistent: false } as const
    const leadsNowhere = (path: string): boolean => !roots.some((root) => isBelow(root, path) || isBelow(path, root))
    this.#watcher = watch(starts, { ...options, ignored: (path) => leadsNowhere(path) || isIgnored(path) })
    this.#watcher.on('all', (event, path, stats) => this.#take(event, path, stats?.ino))
    this.#watcher.on('error', (error) =>
      this.#fail(systemCode(error) === 'ENOSPC' ? NO_MORE_WATCHES : messageOf(error)),
    )
    this.#watcher.once('ready', () => {
      this.#tells = true
      this.#begin()
    })
  }

  /** Idempotent. */
  end(): Promise<void> {
    this.#tells = false
    this.#begin()
    this.#ended ??= this.#tasks.stop().then(() => this.#watcher.close())
    return this.#ended
  }

  #take(event: string, path: string, inode: number | undefined): void {
    if (event === 'unlink' || event === 'unlinkDir') {
      this.#entries.delete(path)
      this.#doubt(dirname(path))
    } else {
      if (event === 'addDir' && !this.#entries.has(path)) this.#doubt(path)
      this.#entries.set(path, event === 'addDir' ? inode : undefined)
    }
    if (this.#entries.size > this.#maxEntries) {
      this.#fail(`there are more than ${this.#maxEntries} files and directories; watch fewer, or ignore some`)
    } else if (this.#tells && !event.endsWith('Dir')) this.#listener.onChange(path)
  }

  /** Looks at a directory again, once, when what happens to it now is over. */
  #doubt(directory: string): void {
    if (!this.#tells || this.#doubted.has(directory)) return
    this.#doubted.add(directory)
    this.#tasks.run(async (signal) => {
      await this.#clock.sleep(LOOK_AGAIN_MS, signal)
      this.#doubted.delete(directory)
      await this.#lookAgain(directory, signal)
    })
  }

  /** What was missed is added, and is then told as any other addition. */
  async #lookAgain(directory: string, signal: AbortSignal): Promise<void> {
    const found = await stat(directory).catch(() => undefined)
    const names = await readdir(directory).catch(() => [])
    if (signal.aborted || found === undefined || !this.#entries.has(directory)) return
    const known = new Set(this.#watcher.getWatched()[directory])
    if (found.ino === this.#entries.get(directory)) {
      this.#watcher.add(names.filter((name) => !known.has(name)).map((name) => join(directory, name)))
    } else {
      this.#entries.set(directory, found.ino)
      this.#watcher.unwatch(directory).add(directory)
    }
  }

  #fail(reason: string): void {
    if (this.#ended !== undefined) return
    void this.end()
    this.#listener.onFault(reason)
  }
}

/**
 * Watching begins above a root, so that one that is made later, or anew, is seen; of a path that does not exist chokidar 5
 * says that it is ready before it has looked at the others.
 */
async function nearestDirectory(path: string): Promise<string> {
  const isThere = await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  )
  return isThere || path === dirname(path) ? path : nearestDirectory(dirname(path))
}

function isBelow(directory: string, path: string): boolean {
  return path === directory || path.startsWith(directory.endsWith('/') ? directory : `${directory}/`)
}
