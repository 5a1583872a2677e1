import type { Random } from '../../base/random.ts'
import type { Turn } from '../../base/turn.ts'
import { type CallInterest, type EndedCall, isOfInterest, unionOf } from './ended-call.ts'

/** Calls that have ended, in that order. */
export interface EndedCalls {
  readonly calls: readonly EndedCall[]
  /** Calls of interest that are not among them: there were too many at once. */
  readonly lost: number
}

/** Calls are told together, so long after the first of them. */
const TELL_MS = 100

/** What is told at once; 40,000 calls a second. */
const MAX_CALLS = 4_000

/** Where calls end: gathers those that somebody wants to see. Asks nothing of a call while nobody does. */
export class CallTap {
  /** Undefined: nobody wants to see any. */
  interest: CallInterest | undefined
  readonly #seams: { readonly turn: Turn; readonly random: Random }
  readonly #tell: (ended: EndedCalls) => void
  #calls: EndedCall[] = []
  #lost = 0
  #scheduled = false

  constructor(seams: { readonly turn: Turn; readonly random: Random }, tell: (ended: EndedCalls) => void) {
    this.#seams = seams
    this.#tell = tell
  }

  add(ended: Omit<EndedCall, 'chance'>): void {
    const { turn, random } = this.#seams
    const call = { ...ended, chance: random.next() }
    if (this.interest === undefined || !isOfInterest(call, this.interest)) return
    if (this.#calls.length >= MAX_CALLS) this.#lost += 1
    else this.#calls.push(call)
    if (this.#scheduled) return
    this.#scheduled = true
    turn.after(TELL_MS, () => {
      this.#scheduled = false
      this.flush()
    })
  }

  /** Tells what has been gathered. */
  flush(): void {
    if (this.#calls.length === 0 && this.#lost === 0) return
    const ended = { calls: this.#calls, lost: this.#lost }
    this.#calls = []
    this.#lost = 0
    this.#tell(ended)
  }
}

interface Watcher {
  readonly interest: CallInterest
  readonly listener: (ended: EndedCalls) => void
}

/** Those who want to see calls, and what each of them is shown. */
export class CallWatch {
  readonly #watchers = new Set<Watcher>()
  readonly #wanted: (interest: CallInterest | undefined) => void

  /** `wanted` is told what all watchers together want, whenever that may have changed. */
  constructor(wanted: (interest: CallInterest | undefined) => void) {
    this.#wanted = wanted
  }

  /** Shows `listener` the calls it wants, a moment late, until the function that is returned is called. */
  watch(interest: CallInterest, listener: (ended: EndedCalls) => void): () => void {
    const watcher = { interest, listener }
    this.#watchers.add(watcher)
    this.#change()
    return () => {
      if (this.#watchers.delete(watcher)) this.#change()
    }
  }

  publish({ calls, lost }: EndedCalls): void {
    for (const { interest, listener } of [...this.#watchers]) {
      const wanted = calls.filter((call) => isOfInterest(call, interest))
      if (wanted.length > 0 || lost > 0) listener({ calls: wanted, lost })
    }
  }

  #change(): void {
    this.#wanted(unionOf([...this.#watchers].map(({ interest }) => interest)))
  }
}
