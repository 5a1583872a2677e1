import { messageOf } from './error.ts'
import type { Log } from './log.ts'

/** What a written value outlives: the process that wrote it, or a loss of power too, which costs the wait for the disk. */
export type Outlives = 'process' | 'power'

/**
 * Small values that survive a crash of the process and of the power.
 * Keys are relative paths of `[a-z0-9._-]` segments with `/` between them.
 */
export interface Store {
  get(key: string): Promise<Uint8Array | undefined>
  /**
   * Replaces the value in one step: after a crash a reader finds the old value or the new one, whole. On return it outlives
   * the power, unless told that the process is enough; then a loss of power may leave a damaged one.
   */
  put(key: string, value: Uint8Array, outlives?: Outlives): Promise<void>
  /** Idempotent. */
  delete(key: string): Promise<void>
  /** The keys that begin with `prefix`, sorted. */
  list(prefix: string): Promise<string[]>
  /** Moves an unreadable value out of the way and returns the key it has now. Never deletes. */
  setAside(key: string): Promise<string>
}

/**
 * Reads and parses a JSON value. A value that cannot be parsed is set aside, reported,
 * and treated as absent: a damaged file must not keep a node from starting.
 */
export async function readJson<T>(
  store: Store,
  key: string,
  parse: (raw: unknown) => T,
  log: Log,
): Promise<T | undefined> {
  const bytes = await store.get(key)
  if (bytes === undefined) return undefined
  try {
    return parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)))
  } catch (error) {
    const aside = await store.setAside(key)
    log.error('stored file is damaged and was set aside', { key, aside, cause: messageOf(error) })
    return undefined
  }
}

/** Writes a JSON value, indented so that a person can read it. */
export function writeJson(store: Store, key: string, value: unknown, outlives?: Outlives): Promise<void> {
  return store.put(key, new TextEncoder().encode(`${JSON.stringify(value, undefined, 2)}\n`), outlives)
}
