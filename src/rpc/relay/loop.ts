import type { Clock } from '../../base/clock.ts'
import { systemTurn } from '../../base/system-turn.ts'
import type { Turn } from '../../base/turn.ts'
import type { Field } from '../h2/field.ts'
import { FieldList } from '../h2/field-list.ts'
import { Arena } from './arena.ts'
import { KeptBytes } from './kept-bytes.ts'
import { Lookout } from './lookout.ts'

/** With so few calls under way, what is written goes out at once: there is nothing to wait for. */
const IMMEDIATE_CALLS = 2

/** With each message some clients send a PING, to measure; the answer waits this long for a frame it can go with. */
const ACK_DELAY_MS = 10

/** What is written to in turn. */
export interface Written {
  /** Bytes that have not left this process. */
  readonly unsent: number
  flush(): void
  /** Ends the connection in the middle of what it is sent. */
  abandon(): void
}

export interface LoopSeams {
  readonly clock: Clock
  /** The turns of this thread, unless told. */
  readonly turn?: Turn
}

/**
 * What all connections of a thread share: the memory, and when to write. System calls, not JavaScript, are what
 * forwarding costs, so that each connection is written to once per turn of the event loop.
 */
export class RelayLoop {
  readonly clock: Clock
  readonly arena: Arena
  /** Calls that have been sent on and are not over. */
  calls = 0
  /** The time of the present read, by the clock's `nowMs`. */
  nowMs: number
  readonly kept: KeptBytes
  readonly outputs = new Set<Written>()
  /** The fields of the block that is read now, and those of them that are passed on. */
  readonly list = new FieldList(false)
  readonly passable: Field[] = []
  readonly #turn: Turn
  readonly #lookout: Lookout
  #dirty: Written[] = []
  #reading = false
  #atOnce = false
  #scheduled = false
  #acks: (() => void)[] = []

  constructor({ clock, turn = systemTurn }: LoopSeams, slabs = 512) {
    this.clock = clock
    this.#turn = turn
    this.#lookout = new Lookout(turn)
    this.arena = new Arena(slabs)
    this.kept = new KeptBytes(this.arena)
    this.nowMs = clock.nowMs()
  }

  /** What follows was read from one socket, up to `endRead`. */
  beginRead(): void {
    this.#reading = true
    this.#lookout.seen()
    this.nowMs = this.clock.nowMs()
  }

  endRead(): void {
    this.#reading = false
    if (!this.#atOnce) return
    this.#atOnce = false
    this.flush()
    this.#lookout.begin()
  }

  /** There is something to be written. */
  mark(output: Written): void {
    this.#dirty.push(output)
    if (this.#reading && this.calls <= IMMEDIATE_CALLS) this.#atOnce = true
    else if (!this.#scheduled) {
      this.#scheduled = true
      this.#turn.soon(() => {
        this.#scheduled = false
        this.flush()
      })
    }
  }

  flush(): void {
    const dirty = this.#dirty
    if (dirty.length === 0) return
    this.#dirty = []
    for (const output of dirty) output.flush()
  }

  /** Runs `task` after a while, together with others. */
  acknowledgeLater(task: () => void): void {
    if (this.#acks.push(task) > 1) return
    this.#turn.after(ACK_DELAY_MS, () => {
      const acks = this.#acks
      this.#acks = []
      for (const acknowledge of acks) acknowledge()
    })
  }

  /** A free slab. When there is none, what can be written is written; else whoever takes least of what it is sent loses it. */
  slab(asking: Written): number {
    for (;;) {
      const free = this.arena.take()
      if (free !== undefined) return free
      this.flush()
      const again = this.arena.take()
      if (again !== undefined) return again
      let slowest: Written | undefined
      for (const output of this.outputs) {
        if (output !== asking && output.unsent > (slowest?.unsent ?? 0)) slowest = output
      }
      if (slowest === undefined) throw new Error('no memory left for what is to be sent')
      slowest.abandon()
    }
  }
}
