import type { Topic } from '../base/topic.ts'
import type { LimitCheck, NodeRequest } from '../node/index.ts'

/** Where the node on this host keeps its things. */
export interface NodePaths {
  readonly dataDir: string
  /** Sockets. */
  readonly runtimeDir: string
  readonly logDir: string
  /** Where the control API listens: the path of a socket, or the name of a pipe. */
  readonly controlSocket: string
}

export interface RunOptions {
  /** Configuration files in order; the later ones win. Empty = the usual one in the working directory. */
  readonly files: readonly string[]
  readonly dataDir: string | undefined
  /** Overrides `node.name`. */
  readonly name: string | undefined
  /** A line for the person at the terminal about what the node does. */
  readonly onProgress: (line: string) => void
  /** Aborted when the person will wait no longer for an orderly end. */
  readonly force: AbortSignal
  /** What else signals ask of the node. */
  readonly requests: Topic<NodeRequest>
}

/** A configuration that was read and found right. */
export interface KnownConfig {
  /** The effective values, defaults filled in, as JSON. */
  readonly config: unknown
  /** Dotted key -> file and line, environment variable, or "default". */
  readonly origins: Readonly<Record<string, string>>
  /** The same as a file with the origins as comments. */
  readonly yaml: string
  /** One line each: what is taken but has no effect yet. */
  readonly warnings: readonly string[]
  /** What was read, absolute. */
  readonly files: readonly string[]
  /** `node.data_dir`, absolute; undefined when it is left to its default. */
  readonly dataDir: string | undefined
}

/** What commands need of the library in this very process, not of a running node. */
export interface LocalNode {
  /** @throws HsuError USAGE for a directory that cannot be used */
  resolvePaths(dataDir: string | undefined): NodePaths
  /** Runs a node until `signal` aborts and all it started has ended; resolves with the exit code. */
  run(options: RunOptions, signal: AbortSignal): Promise<number>
  /** Reads `files`, or without any the usual one here. @throws HsuError CONFIG_INVALID naming every fault */
  describeConfig(files: readonly string[]): Promise<KnownConfig>
  /** The JSON Schema of the configuration file. */
  configSchema(): unknown
  /** What a node on this host could do about each kind of limit. */
  checkLimits(): Promise<readonly LimitCheck[]>
  /** The content of a new mesh key file. */
  createMeshKey(): string
  /** Tells mesh keys apart without showing them, newest first. @throws HsuError CONFIG_INVALID when `content`, of `file`, is no mesh key */
  meshKeyFingerprints(content: string, file: string): readonly string[]
  /**
   * Fetches the mesh key by the code of an invitation, from `address` or from where the code leads.
   *
   * @throws HsuError USAGE for what is no code, NODE_UNREACHABLE, NOT_PERMITTED when the code leads to nothing (any more)
   */
  joinByInvite(
    code: string,
    address: string | undefined,
    signal: AbortSignal,
  ): Promise<{ readonly mesh: string; readonly keyFile: string; readonly seeds: readonly string[] }>
}
