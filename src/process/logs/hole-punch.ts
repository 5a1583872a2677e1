import type { Fields, Log } from '../../base/log.ts'
import type { RunCommand } from '../run-command.ts'

/** Less than this is not worth a command. */
const MIN_BYTES = 1024 * 1024
/** While a unit floods its output, one command frees at least this much. */
const FLOOD_BYTES = 16 * 1024 * 1024
/** A raw file that cannot be freed is reported when it is larger than this. */
const WARN_BYTES = 64 * 1024 * 1024
/** Holes are made of whole blocks; this is the block of nearly every file system. */
const BLOCK_BYTES = 4_096
const TIMEOUT_MS = 30_000

export interface HolePunchSeams {
  readonly run: RunCommand
  readonly log: Log
  /** Resolves when what was stored is on the disk: what is freed exists nowhere else. */
  readonly sync: () => Promise<void>
}

/**
 * Keeps the disk use of a raw output file bounded while its writer goes on appending.
 *
 * The consumed part is not truncated, since a line written between the look at the size and the cut would be
 * lost, and the writer, which may be anyone's program, cannot be asked to begin a new file. Instead the blocks
 * under it are given back to the file system: `fallocate --punch-hole` (util-linux; fallocate(2),
 * FALLOC_FL_PUNCH_HOLE: ext4, xfs, btrfs, tmpfs). The apparent size goes on growing, the disk use does not,
 * and no offset changes. Where that cannot be done the file is left as it is, and reported once beyond 64 MiB.
 */
export class HolePunch {
  readonly #seams: HolePunchSeams
  readonly #path: string
  #punchedTo = 0
  #possible = process.platform === 'linux'
  #warned = false
  #running: Promise<void> | undefined

  constructor(seams: HolePunchSeams, path: string) {
    this.#seams = seams
    this.#path = path
  }

  /** Frees what lies before `offset` when it is worth it; `idle` = there is no more to read just now. Does not wait. */
  consumed(offset: number, idle: boolean): void {
    const end = offset - (offset % BLOCK_BYTES)
    if (!this.#possible) {
      this.#warn(offset, {})
    } else if (this.#running === undefined && end - this.#punchedTo >= (idle ? MIN_BYTES : FLOOD_BYTES)) {
      this.#running = this.#punch(end).finally(() => {
        this.#running = undefined
      })
    }
  }

  /** Resolves when no command is running. */
  async settled(): Promise<void> {
    await this.#running
  }

  async #punch(end: number): Promise<void> {
    await this.#seams.sync()
    const argv = ['fallocate', '--punch-hole', '--offset', '0', '--length', String(end), this.#path]
    const { signal } = new AbortController()
    const done = await this.#seams.run(argv, { timeoutMs: TIMEOUT_MS }, signal).then(
      ({ exit }) => 'code' in exit && exit.code === 0,
      () => false,
    )
    this.#possible = done
    this.#punchedTo = end
  }

  #warn(bytes: number, fields: Fields): void {
    if (this.#warned || bytes < WARN_BYTES) return
    this.#warned = true
    this.#seams.log.warn('raw output cannot be freed here and keeps growing', { path: this.#path, bytes, ...fields })
  }
}
