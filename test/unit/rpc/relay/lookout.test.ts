import t from 'tap'
import type { Turn } from '../../../../src/base/turn.ts'
import { Lookout } from '../../../../src/rpc/relay/lookout.ts'

/** Turns that pass when told. */
class HandTurn implements Turn {
  #tasks: (() => void)[] = []

  soon(task: () => void): void {
    this.#tasks.push(task)
  }

  after(): void {
    throw new Error('nothing here waits')
  }

  /** Lets turns pass until nothing is to be done, at most so many; returns how many passed with something to do. */
  pass(most: number): number {
    let passed = 0
    while (this.#tasks.length > 0 && passed < most) {
      for (const task of this.#tasks.splice(0)) task()
      passed += 1
    }
    return passed
  }
}

t.test('it looks for a bounded number of turns', (t) => {
  const turn = new HandTurn()
  new Lookout(turn).begin()
  const passed = turn.pass(1_000)
  t.ok(passed > 1 && passed < 100, `${passed} turns`)
  t.end()
})

t.test('while something comes it goes on, in one chain of turns', (t) => {
  const turn = new HandTurn()
  const lookout = new Lookout(turn)
  for (let read = 0; read < 100; read += 1) {
    lookout.seen()
    lookout.begin()
    t.equal(turn.pass(1), 1)
  }
  lookout.seen()
  t.equal(turn.pass(1_000), 1, 'what came and was not written is not followed by looking')
  t.end()
})

t.test('it rarely looks where nothing comes in time, until something does', (t) => {
  const turn = new HandTurn()
  const lookout = new Lookout(turn)
  /** A read, and what it looked for: nothing comes. */
  const missed = (): boolean => {
    lookout.seen()
    lookout.begin()
    return turn.pass(1_000) > 0
  }
  const first = Array.from({ length: 20 }, missed).filter(Boolean).length
  t.ok(first < 20, `${first} of the first 20`)
  const later = Array.from({ length: 320 }, missed).filter(Boolean).length
  t.ok(later > 0 && later <= 16, `${later} of the next 320`)
  while (turn.pass(1) === 0) {
    lookout.seen()
    lookout.begin()
  }
  lookout.seen()
  lookout.begin()
  turn.pass(1)
  t.ok(missed(), 'something came in time once')
  t.end()
})
