import { type FSWatcher, watch } from 'node:fs'
import { dirname } from 'node:path'
import { withSignal } from '../../base/abort.ts'
import type { Clock } from '../../base/clock.ts'
import { messageOf } from '../../base/error.ts'
import type { Log } from '../../base/log.ts'
import type { RunCommand } from '../run-command.ts'
import { HolePunch } from './hole-punch.ts'
import type { LineFilter } from './line-filter.ts'
import { createLoss, type Loss, type LossSeams, rawOutputLost } from './loss.ts'
import type { Stream } from './record.ts'
import type { Retention } from './retention.ts'
import type { RawGroup } from './splitter.ts'
import { Spool } from './spool.ts'
import type { LogStore, NewBlock } from './store.ts'
import { createWake } from '../../base/wake.ts'

/** The system tells of changes; this is for when it forgets one. Rare, because a look at each of many quiet units costs. */
const WATCHED_POLL_MS = 30_000
/** Where the system cannot tell (no watches left, network file systems). */
const UNWATCHED_POLL_MS = 500
/** Rest between two reads, so that a unit that writes line by line does not cost a read a line. */
const REST_MS = 50
/** Reading the last of it can fail for reasons that pass (no file descriptor left, say). */
const MAX_LAST_ATTEMPTS = 10
const LAST_RETRY_MS = 200
/** Where all that is read is filtered away, that it was read is written down this often. */
const STATE_EVERY_BYTES = 256 * 1024

/** The raw output of one instance, and what is kept of it. */
export interface CaptureSource extends Retention {
  readonly unit: string
  readonly replica: number
  readonly instance: string
  /** The unit's own program. */
  readonly pid: number | undefined
  readonly stdoutPath: string
  readonly stderrPath: string
  /** Size of one log file of the replica. */
  readonly maxBytes: number
  /** So much raw output of a stream may wait to be read; of more, the oldest is dropped. */
  readonly backlogBytes: number
  /** Which lines are kept. */
  readonly keeps: LineFilter
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

export interface CaptureSeams extends LossSeams {
  readonly clock: Clock
  readonly log: Log
  readonly run: RunCommand
  readonly store: LogStore
}

interface Pipe {
  readonly stream: Stream
  readonly spool: Spool
  readonly hole: HolePunch
  /** What lies before is in the log. */
  storedOffset: number
  afterGap: boolean
  /** Of what waited beyond the backlog. */
  readonly loss: Loss
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
    for (const { hole, loss } of this.#pipes ?? []) {
      loss.end()
      await hole.settled()
    }
    this.#seams.store.release(this.#source.instance)
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
  async #drain(pipe: Pipe, last: boolean): Promise<void> {
    const { spool, hole } = pipe
    const limit = await spool.size()
    while (this.#state() !== 'close') {
      const groups = await spool.read(limit)
      this.#noteDropped(pipe)
      if (groups === undefined) break
      await this.#append(pipe, groups, false)
      hole.consumed(pipe.storedOffset, false)
    }
    const unfinished = last ? spool.flush() : undefined
    await this.#append(pipe, unfinished === undefined ? [] : [unfinished], last)
    hole.consumed(pipe.storedOffset, true)
  }

  /** `surely`: states how far the raw file is consumed even where nothing of it is kept. */
  async #append(pipe: Pipe, groups: readonly RawGroup[], surely: boolean): Promise<void> {
    const { clock, store } = this.#seams
    const { instance, pid, keeps } = this.#source
    const { stream, spool } = pipe
    const wallMs = Math.round(clock.wallMs())
    const blocks: NewBlock[] = []
    for (const { lines, endOffset } of groups) {
      const kept = keeps(lines)
      const { afterGap } = pipe
      if (kept.length > 0) blocks.push({ wallMs, instance, pid, stream, endOffset, lines: kept, afterGap })
      if (kept.length > 0) pipe.afterGap = false
    }
    const consumed = spool.takenOffset
    const known = blocks.at(-1)?.endOffset ?? pipe.storedOffset
    const due = surely ? 1 : STATE_EVERY_BYTES
    if (consumed - known >= due) blocks.push({ wallMs, instance, pid, stream, endOffset: consumed, lines: [] })
    await store.append(blocks)
    pipe.loss.stored()
    pipe.storedOffset = blocks.at(-1)?.endOffset ?? pipe.storedOffset
  }

  #noteDropped(pipe: Pipe): void {
    const bytes = pipe.spool.takeDroppedBytes()
    if (bytes === 0) return
    pipe.afterGap = true
    pipe.loss.add(bytes, 'there was more of it than logs.backlog allows')
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

async function openPipes(seams: CaptureSeams, source: CaptureSource): Promise<readonly Pipe[]> {
  const { store, log, run } = seams
  const progress = await store.progressOf(source.instance)
  const { backlogBytes, ended = false } = source
  const pipe = (stream: Stream, path: string): Pipe => {
    const options = { offset: progress[stream], maxLineBytes: store.maxLineBytes, backlogBytes, ended }
    const spool = new Spool(path, options, log)
    const hole = new HolePunch({ run, log, sync: () => store.sync() }, path)
    const loss = createLoss(seams, rawOutputLost(source.replica, stream))
    return { stream, spool, hole, loss, storedOffset: progress[stream], afterGap: false }
  }
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
