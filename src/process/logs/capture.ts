import { type FSWatcher, watch } from 'node:fs'
import { dirname } from 'node:path'
import { withSignal } from '../../base/abort.ts'
import type { Clock } from '../../base/clock.ts'
import { messageOf } from '../../base/error.ts'
import type { Log } from '../../base/log.ts'
import type { RunCommand } from '../run-command.ts'
import { HolePunch } from './hole-punch.ts'
import type { Stream } from './record.ts'
import type { RawLine } from './splitter.ts'
import { Spool } from './spool.ts'
import type { LogStore } from './store.ts'
import { createWake } from './wake.ts'

/** The system tells of changes; this is for when it forgets one. */
const WATCHED_POLL_MS = 5_000
/** Where the system cannot tell (no watches left, network file systems). */
const UNWATCHED_POLL_MS = 500
/** Rest between two reads, so that a unit that writes line by line does not cost a read a line. */
const REST_MS = 50
/** Reading the last of it can fail for reasons that pass (no file descriptor left, say). */
const MAX_LAST_ATTEMPTS = 10
const LAST_RETRY_MS = 200

/** The raw output of one instance. */
export interface CaptureSource {
  readonly unit: string
  readonly replica: number
  readonly instance: string
  readonly stdoutPath: string
  readonly stderrPath: string
  /** Size of one log file of the replica. */
  readonly maxBytes: number
  /** Number of log files of the replica. */
  readonly keep: number
  /** True for one that ended before: its files are what they are. */
  readonly ended?: boolean
}

/** Moves the output of one instance to the log of its replica. */
export interface Capture {
  /**
   * The instance has ended: takes what it has written up to now, the unfinished last line too, and ends. False when
   * there is something that could not be read.
   */
  finish(): Promise<boolean>
  /** Ends at once, without a word about the instance; a later capture of it goes on where this one stopped. */
  close(): Promise<void>
}

export interface CaptureSeams {
  readonly clock: Clock
  readonly log: Log
  readonly run: RunCommand
  readonly store: LogStore
}

interface Pipe {
  readonly stream: Stream
  readonly spool: Spool
  readonly hole: HolePunch
}

/** Begins at once. Never throws: what goes wrong is logged and tried again. */
export function startCapture(seams: CaptureSeams, source: CaptureSource): Capture {
  return new OutputCapture(seams, source)
}

class OutputCapture implements Capture {
  readonly #seams: CaptureSeams
  readonly #source: CaptureSource
  readonly #wake = createWake()
  /** Ends every rest once the end is wanted. */
  readonly #hurry = new AbortController()
  readonly #ended: Promise<boolean>
  #ending: 'no' | 'finish' | 'close' = 'no'
  #pipes: readonly Pipe[] | undefined
  #fault: string | undefined

  constructor(seams: CaptureSeams, source: CaptureSource) {
    const log = seams.log.with({ unit: source.unit, instance: source.instance })
    this.#seams = { ...seams, log }
    this.#source = source
    this.#ended = this.#run()
  }

  finish(): Promise<boolean> {
    return this.#end('finish')
  }

  async close(): Promise<void> {
    await this.#end('close')
  }

  #end(how: 'finish' | 'close'): Promise<boolean> {
    if (this.#ending !== 'close') this.#ending = how
    this.#hurry.abort()
    return this.#ended
  }

  /** True when everything was read. */
  async #run(): Promise<boolean> {
    const watched = watchDirectory(dirname(this.#source.stdoutPath), () => this.#wake.notify())
    let isRead = false
    for (let attempts = 0; !isRead && attempts < MAX_LAST_ATTEMPTS && this.#state() !== 'close'; ) {
      const last = this.#state() === 'finish'
      const passed = await this.#pass(last)
      isRead = last && passed && this.#state() === 'finish'
      if (!last) await this.#pause(watched.active() ? WATCHED_POLL_MS : UNWATCHED_POLL_MS)
      else if (!isRead) {
        attempts += 1
        await this.#seams.clock.sleep(LAST_RETRY_MS)
      }
    }
    watched.close()
    for (const { hole } of this.#pipes ?? []) await hole.settled()
    return isRead
  }

  /** `ending` changes while we wait, which the compiler does not see. */
  #state(): 'no' | 'finish' | 'close' {
    return this.#ending
  }

  /** True when what there is was read. */
  async #pass(last: boolean): Promise<boolean> {
    try {
      this.#pipes ??= await openPipes(this.#seams, this.#source)
      for (const pipe of this.#pipes) await this.#drain(pipe, last)
      this.#fault = undefined
      return true
    } catch (error) {
      const cause = messageOf(error)
      if (cause !== this.#fault) this.#seams.log.error('output of a unit cannot be read', { cause })
      this.#fault = cause
      return false
    }
  }

  /** Takes what is there now; what a flood adds meanwhile is for the next time. */
  async #drain({ stream, spool, hole }: Pipe, last: boolean): Promise<void> {
    const limit = await spool.size()
    while (this.#state() !== 'close') {
      const lines = await spool.read(limit)
      if (lines === undefined) break
      await this.#append(stream, lines)
      hole.consumed(spool.takenOffset, false)
    }
    const unfinished = last ? spool.flush() : undefined
    if (unfinished !== undefined) await this.#append(stream, [unfinished])
    hole.consumed(spool.takenOffset, true)
  }

  #append(stream: Stream, lines: readonly RawLine[]): Promise<void> {
    const wallMs = Math.round(this.#seams.clock.wallMs())
    const { instance } = this.#source
    return this.#seams.store.append(
      lines.map(({ endOffset, bytes }) => ({ wallMs, instance, stream, endOffset, line: bytes })),
    )
  }

  async #pause(pollMs: number): Promise<void> {
    const { clock } = this.#seams
    const quiet = (): undefined => undefined
    await clock.sleep(REST_MS, this.#hurry.signal).catch(quiet)
    await withSignal(this.#hurry.signal, (signal) =>
      Promise.race([this.#wake.wait(), clock.sleep(pollMs, signal).catch(quiet)]),
    )
  }
}

async function openPipes({ store, log, run }: CaptureSeams, source: CaptureSource): Promise<readonly Pipe[]> {
  const progress = await store.progressOf(source.instance)
  const pipe = (stream: Stream, path: string): Pipe => ({
    stream,
    spool: new Spool(path, progress[stream], store.maxLineBytes, log, source.ended ?? false),
    hole: new HolePunch({ run, log, sync: () => store.sync() }, path),
  })
  return [pipe('stdout', source.stdoutPath), pipe('stderr', source.stderrPath)]
}

/** Calls `onChange` when something in the directory changes; `active` is false where the system does not tell. */
function watchDirectory(directory: string, onChange: () => void): { active(): boolean; close(): void } {
  let watcher: FSWatcher | undefined
  const close = (): void => {
    watcher?.close()
    watcher = undefined
  }
  try {
    watcher = watch(directory, { persistent: false }, onChange)
    watcher.on('error', close)
  } catch {
    // No watches left (ENOSPC), no directory, or none on this file system: polled instead.
  }
  return { active: () => watcher !== undefined, close }
}
