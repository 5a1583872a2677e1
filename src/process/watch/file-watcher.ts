/** What is to be watched. */
export interface WatchRequest {
  /** Files and directories, absolute; directories with all that is below them. What is not there yet is waited for. */
  readonly roots: readonly string[]
  /** Whether a path, absolute, is passed over with all that is below it. */
  readonly isIgnored: (path: string) => boolean
  /** With more files and directories than this, nothing is watched. */
  readonly maxEntries: number
}

export interface WatchListener {
  /** Something was written, made or removed at this path, absolute. */
  readonly onChange: (path: string) => void
  /** Nothing is watched any more, in words. Called once at most. */
  readonly onFault: (reason: string) => void
}

/** Tells of changes of files. Seam: chokidar, or a test that says what changes. */
export interface FileWatcher {
  /** Changes after it resolves are told. Returns how to end it; after that nothing is told. */
  watch(request: WatchRequest, listener: WatchListener): Promise<() => Promise<void>>
}
