import t from 'tap'
import { createTopic } from '../../../src/base/topic.ts'
import type { Restraint, RestraintChange, Restraints } from '../../../src/process/index.ts'
import { World } from '../../support/sim-world.ts'
import { unitSpec } from '../../support/unit-spec.ts'

const API = unitSpec('api', { run: ['./api'], restart: { backoff: '10ms..20ms' } })

/** Holds back what it is told to. */
class Leash implements Restraints {
  readonly changes = createTopic<RestraintChange>()
  readonly overruled: string[] = []
  #held: Restraint | undefined

  of(): Restraint | undefined {
    return this.#held
  }

  overrule(unit: string): void {
    this.overruled.push(unit)
    this.#held = undefined
  }

  hold(reason: string | undefined, causedBy = ''): void {
    const before = this.#held
    this.#held = reason === undefined ? undefined : { reason }
    this.changes.publish({ unit: 'api', before, now: this.#held, reason: reason ?? 'over', details: {}, causedBy })
  }

  open(): void {
    // Nothing to begin.
  }

  close(): void {
    // Nor to end.
  }
}

t.test('a unit that is held back stops, says so, and goes on when that is over', async (t) => {
  const restraints = new Leash()
  const node = await new World(t).supervise([API], { restraints })
  t.equal(node.status('api').state, 'up')
  restraints.hold('runs on b', 'event 7')
  await node.pass(2_000)
  t.match(node.status('api'), {
    state: 'down',
    want: 'up',
    pid: undefined,
    reason: 'held back: runs on b',
    restarts: 0,
  })
  const held = node.events.find(({ type }) => type === 'unit.held')
  t.match(held, { reason: 'runs on b', causedBy: 'event 7' })
  t.equal(node.events.find(({ type }) => type === 'unit.stopping')?.causedBy, held?.id)

  restraints.hold('runs on c')
  await node.pass(100)
  t.equal(node.status('api').reason, 'held back: runs on c')
  restraints.hold(undefined)
  await node.pass(100)
  t.equal(node.status('api').state, 'up')
  t.notMatch(node.typesOf('api').join(), /failed|backoff/, 'it was no failure')
})

t.test('one that is held back when the node starts does not start, also after a crash', async (t) => {
  const restraints = new Leash()
  restraints.hold('runs on b')
  const world = new World(t)
  const node = await world.supervise([API], { restraints })
  t.match(node.status('api'), { state: 'down', reason: 'held back: runs on b' })
  t.equal(world.host.spawned.length, 0)
  restraints.hold(undefined)
  await node.pass(100)
  await node.crash('api')
  restraints.hold('runs on b')
  await node.pass(100)
  t.match(node.status('api'), { state: 'down', reason: 'held back: runs on b' })
})

t.test('what a person asks for overrules it, and what nobody asked for does not', async (t) => {
  const restraints = new Leash()
  restraints.hold('runs on b')
  const node = await new World(t).supervise([API], { restraints })
  const signal = new AbortController().signal
  await node.supervisor.startUnit('api', signal)
  t.equal(node.status('api').state, 'down')
  await node.supervisor.startUnit('api', signal, { actor: 'anna' })
  await node.pass(100)
  t.equal(node.status('api').state, 'up')
  t.same(restraints.overruled, ['api'])
})
