import { stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { type FSWatcher, watch } from 'chokidar'
import { messageOf, systemCode } from '../../base/error.ts'
import type { FileWatcher, WatchListener, WatchRequest } from './file-watcher.ts'

/** What to do when the system gives no more watches (inotify(7)). */
const NO_MORE_WATCHES =
  'the system gives no more watches; raise fs.inotify.max_user_watches (sysctl), or watch fewer directories'

/** The real end of the seam. */
export const chokidarWatcher: FileWatcher = {
  async watch(request, listener) {
    const starts = await Promise.all(request.roots.map((root) => nearestDirectory(dirname(root))))
    const watching = new Watching([...new Set(starts)], request, listener)
    await watching.begun
    return () => watching.end()
  },
}

class Watching {
  /** Resolves when changes are told from now on, or it is over. */
  readonly begun: Promise<void>
  readonly #watcher: FSWatcher
  readonly #listener: WatchListener
  readonly #maxEntries: number
  #entries = 0
  #tells = false
  #begin = (): void => undefined
  #ended: Promise<void> | undefined

  constructor(starts: string[], { roots, isIgnored, maxEntries }: WatchRequest, listener: WatchListener) {
    this.#listener = listener
    this.#maxEntries = maxEntries
    this.begun = new Promise((resolve) => {
      this.#begin = resolve
    })
    // A file that an editor saves by a rename has changed once (`atomic`).
    const options = { ignorePermissionErrors: true, atomic: true, persistent: false } as const
    const leadsNowhere = (path: string): boolean => !roots.some((root) => isBelow(root, path) || isBelow(path, root))
    this.#watcher = watch(starts, { ...options, ignored: (path) => leadsNowhere(path) || isIgnored(path) })
    this.#watcher.on('all', (event, path) => this.#take(event, path))
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
    this.#ended ??= this.#watcher.close()
    return this.#ended
  }

  #take(event: string, path: string): void {
    if (event === 'add' || event === 'addDir') this.#entries += 1
    if (event === 'unlink' || event === 'unlinkDir') this.#entries -= 1
    if (this.#entries > this.#maxEntries) {
      this.#fail(`there are more than ${this.#maxEntries} files and directories; watch fewer, or ignore some`)
    } else if (this.#tells && !event.endsWith('Dir')) this.#listener.onChange(path)
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
