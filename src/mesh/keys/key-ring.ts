import type { Clock } from '../../base/clock.ts'
import { HsuError } from '../../base/error.ts'
import type { Log } from '../../base/log.ts'
import { readJson, type Store, writeJson } from '../../base/store.ts'
import { MESH_KEY_BYTES, meshKeyFingerprint } from './mesh-key.ts'

/** A mesh key that this node accepts. */
export interface HeldKey {
  readonly key: Uint8Array
  readonly fingerprint: string
  /** When this node got it, by its wall clock. */
  readonly sinceMs: number
  /** Until when it is accepted besides a newer one; undefined: for as long as it is the newest, or stands in the key file. */
  readonly untilMs: number | undefined
}

/** What is kept of the keys, over restarts. */
export interface KeptKeys {
  /** Newest first. */
  readonly held: readonly HeldKey[]
  /** Fingerprints of keys that were held and are no more, newest first: a file that still has one of them is stale. */
  readonly past: readonly string[]
}

export interface KeyRingSeams {
  readonly clock: Clock
  readonly log: Log
  readonly store: Store
  /** Puts the keys into the key file too, so that a copy of it is good; best effort. */
  readonly writeFile: (keys: readonly Uint8Array[]) => Promise<void>
}

/** Where the keys are kept. */
const KEY = 'mesh/keys.json'

/** How many keys are held at once, and how many are remembered. Several rotations at once are two nodes' at most. */
const MAX_HELD = 4
const MAX_PAST = 16

/** The mesh keys of this node: the newest, and for a while those before it. Kept in the data directory and in the key file. */
export class KeyRing {
  readonly #seams: KeyRingSeams
  #kept: KeptKeys = { held: [], past: [] }

  private constructor(seams: KeyRingSeams) {
    this.#seams = seams
  }

  /** @param file the keys of the key file, newest first, at least one */
  static async load(seams: KeyRingSeams, file: readonly Uint8Array[]): Promise<KeyRing> {
    const { clock, log, store } = seams
    const ring = new KeyRing(seams)
    const kept = await readJson(store, KEY, parseKept, log)
    ring.#kept = reconcile(kept, file, clock.wallMs())
    return ring
  }

  /** Those in force now, newest first. */
  held(): readonly HeldKey[] {
    return this.#kept.held
  }

  readonly inForce = (): readonly Uint8Array[] => this.#kept.held.map(({ key }) => key)

  get newest(): HeldKey {
    const [newest] = this.#kept.held
    if (newest === undefined) throw new HsuError('INTERNAL', 'a node without a mesh key')
    return newest
  }

  find(fingerprint: string): Uint8Array | undefined {
    return this.#kept.held.find((held) => held.fingerprint === fingerprint)?.key
  }

  /** Whether this node holds the key, or held it once. */
  knows(fingerprint: string): boolean {
    return this.find(fingerprint) !== undefined || this.#kept.past.includes(fingerprint)
  }

  /** Makes `key` the newest; those before it are accepted for `overlapMs` more. On the disk when it resolves. */
  async adopt(key: Uint8Array, overlapMs: number): Promise<void> {
    const nowMs = this.#seams.clock.wallMs()
    const fingerprint = meshKeyFingerprint(key)
    const older = this.#kept.held.map((held) => ({
      ...held,
      untilMs: Math.min(held.untilMs ?? Infinity, nowMs + overlapMs),
    }))
    const held = [{ key, fingerprint, sinceMs: nowMs, untilMs: undefined }, ...older]
    const dropped = held.slice(MAX_HELD).map((one) => one.fingerprint)
    this.#kept = { held: held.slice(0, MAX_HELD), past: [...dropped, ...this.#kept.past].slice(0, MAX_PAST) }
    await this.#save()
  }

  /** Gives up the keys whose time is over; their fingerprints. */
  async retire(): Promise<readonly string[]> {
    const next = retired(this.#kept, this.#seams.clock.wallMs())
    const gone = this.#kept.held.length - next.held.length
    if (gone === 0) return []
    this.#kept = next
    await this.#save()
    return next.past.slice(0, gone)
  }

  async #save(): Promise<void> {
    const { store, writeFile } = this.#seams
    const { held, past } = this.#kept
    const kept = held.map(({ key, sinceMs, untilMs }) => ({
      key: Buffer.from(key).toString('base64'),
      sinceMs,
      untilMs,
    }))
    await writeJson(store, KEY, { held: kept, past })
    await writeFile(this.inForce())
  }
}

/**
 * Which keys count at a start. Pure. The data directory is ahead of a key file that has not been written since (it was
 * read-only, or put back by a tool); a file with a new key at its head was put there by a person and wins.
 */
export function reconcile(kept: KeptKeys | undefined, file: readonly Uint8Array[], nowMs: number): KeptKeys {
  const inFile = file.map((key) => ({ key, fingerprint: meshKeyFingerprint(key), sinceMs: nowMs, untilMs: undefined }))
  if (kept === undefined) return { held: inFile, past: [] }
  const now = retired(kept, nowMs)
  const [newest] = inFile
  const known = now.held.some(({ fingerprint }) => fingerprint === newest?.fingerprint)
  if (newest !== undefined && !known && !now.past.includes(newest.fingerprint)) {
    return { held: inFile, past: [...now.held.map(({ fingerprint }) => fingerprint), ...now.past].slice(0, MAX_PAST) }
  }
  // An older key without an end was there because the file had it.
  const stays = ({ fingerprint, untilMs }: HeldKey, index: number): boolean =>
    index === 0 || untilMs !== undefined || inFile.some((other) => other.fingerprint === fingerprint)
  const held = now.held.filter(stays)
  const added = newest?.fingerprint === held[0]?.fingerprint ? inFile.slice(1) : []
  const isNew = ({ fingerprint }: HeldKey): boolean => !held.some((one) => one.fingerprint === fingerprint)
  return {
    held: [...held, ...added.filter((one) => isNew(one) && !now.past.includes(one.fingerprint))],
    past: now.past,
  }
}

function retired({ held, past }: KeptKeys, nowMs: number): KeptKeys {
  const isOver = ({ untilMs }: HeldKey, index: number): boolean =>
    index > 0 && untilMs !== undefined && untilMs <= nowMs
  const gone = held.filter(isOver).map(({ fingerprint }) => fingerprint)
  return { held: held.filter((one, index) => !isOver(one, index)), past: [...gone, ...past].slice(0, MAX_PAST) }
}

function parseKept(raw: unknown): KeptKeys {
  const { held, past } = (raw ?? {}) as { held?: unknown; past?: unknown }
  if (!Array.isArray(held) || held.length === 0 || !Array.isArray(past)) {
    throw new HsuError('STORE_CORRUPT', `${KEY} has no list of keys`)
  }
  return { held: held.slice(0, MAX_HELD).map(parseHeld), past: past.slice(0, MAX_PAST).map(String) }
}

function parseHeld(raw: unknown): HeldKey {
  const { key, sinceMs, untilMs } = (raw ?? {}) as Record<'key' | 'sinceMs' | 'untilMs', unknown>
  const bytes = typeof key === 'string' ? Uint8Array.from(Buffer.from(key, 'base64')) : new Uint8Array()
  if (bytes.length !== MESH_KEY_BYTES || typeof sinceMs !== 'number') {
    throw new HsuError('STORE_CORRUPT', `${KEY} has an entry that is no key`)
  }
  const fingerprint = meshKeyFingerprint(bytes)
  return { key: bytes, fingerprint, sinceMs, untilMs: typeof untilMs === 'number' ? untilMs : undefined }
}
