import t, { type Test } from 'tap'
import { createTaskGroup } from '../../../src/base/task-group.ts'
import { createTopic } from '../../../src/base/topic.ts'
import type { MemberView, NodeRecord, Registration } from '../../../src/mesh/index.ts'
import { toRegistration } from '../../../src/node/registrations.ts'
import { createScheduleClaims, type ScheduleClaims } from '../../../src/node/schedule-claims.ts'
import { schedule } from '../../../src/process/config/schedule.ts'
import { readCadence } from '../../../src/process/jobs/cadence.ts'
import { Ticker } from '../../../src/process/jobs/ticker.ts'
import type { InstanceStatus } from '../../../src/process/index.ts'
import { seeded } from '../../../src/sim/seeded.ts'
import { SimClock } from '../../../src/sim/sim-clock.ts'

const MINUTE_MS = 60_000
const TERMS = schedule.parse({ cron: '* * * * *', timezone: 'UTC', scope: 'mesh', missed: 'once' })

// What it takes to read schedules is loaded on demand: here it must be there before simulated time passes.
await readCadence(TERMS.cron, TERMS.timezone)

/** How long a message takes. */
const DELAY_MS = 20

/** How long it takes to see that a node is gone. */
const DETECTION_MS = 2_000

interface Peer {
  readonly name: string
  readonly clock: SimClock
  readonly claims: ScheduleClaims
  readonly changes: ReturnType<typeof createTopic<undefined>>
  /** What it has heard of others, and whether it takes them for alive. */
  readonly heard: Map<string, Registration>
  readonly gone: Set<string>
  active: number
  ticker: Ticker | undefined
  end: () => Promise<void>
}

/** Nodes that have the same scheduled unit and tell each other what they register, as far as they can. */
class Plant {
  readonly clock = new SimClock(Date.UTC(2025, 0, 1, 0, 0, 30))
  readonly peers = new Map<string, Peer>()
  /** `moment by node`, in the order of the runs. */
  readonly runs: string[] = []
  readonly stopped: string[] = []
  readonly #cut = new Set<string>()

  constructor(t: Test) {
    t.teardown(async () => {
      for (const name of [...this.peers.keys()]) this.kill(name)
    })
  }

  add(name: string, { knownMs, clock = this.clock }: { knownMs?: number; clock?: SimClock } = {}): Peer {
    const tasks = createTaskGroup((error) => {
      throw error
    })
    const changes = createTopic<undefined>()
    const heard = new Map<string, Registration>()
    const claims = createScheduleClaims({
      clock,
      nodeId: name,
      world: {
        members: () => this.#membersOf(name),
        registrationsOf: (other) => [heard.get(other) ?? []].flat(),
        changes,
      },
      changed: () => this.#spread(name),
      flushed: () => clock.sleep(2 * DELAY_MS),
      stopUnit: async (node, unit) => void this.stopped.push(`${unit} on ${node} by ${name}`),
    })
    const watch = { unit: 'report', terms: TERMS, knownMs, goesOn: false }
    const ticker = new Ticker({ clock, random: seeded(1), mesh: claims, tasks }, watch, {
      missed: () => undefined,
      handled: () => undefined,
      changed: () => undefined,
      fire: async (tickMs) => void this.runs.push(`${new Date(tickMs).toISOString().slice(11, 16)} ${name}`),
    })
    const peer: Peer = {
      name,
      clock,
      claims,
      changes,
      heard,
      gone: new Set(),
      active: 0,
      ticker,
      end: () => tasks.stop(),
    }
    this.peers.set(name, peer)
    claims.begin()
    ticker.begin()
    for (const other of this.peers.keys()) this.#spread(other)
    return peer
  }

  /** Ends at once, without a word; the others notice after a while. */
  kill(name: string): void {
    const peer = this.peers.get(name)
    this.peers.delete(name)
    peer?.ticker?.stop()
    void peer?.end()
    for (const other of this.peers.values()) this.#later(DETECTION_MS, () => this.#lose(other, name))
  }

  /** No message passes between these any more. */
  cut(one: string, other: string): void {
    this.#cut.add(`${one} ${other}`).add(`${other} ${one}`)
    for (const [at, of] of [
      [one, other],
      [other, one],
    ] as const) {
      const peer = this.peers.get(at)
      if (peer !== undefined) this.#later(DETECTION_MS, () => this.#lose(peer, of))
    }
  }

  repair(): void {
    this.#cut.clear()
    for (const peer of this.peers.values()) peer.gone.clear()
    for (const name of this.peers.keys()) this.#spread(name)
  }

  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 250) await this.clock.advance(Math.min(left, 250))
  }

  look(name: string) {
    return this.peers.get(name)?.claims.look('report', this.peers.get(name)?.ticker?.key ?? '')
  }

  spread(name: string): void {
    this.#spread(name)
  }

  #membersOf(name: string): MemberView[] {
    const peer = this.peers.get(name)
    const others = [...(peer?.heard.keys() ?? [])]
    return [name, ...others].map((nodeId) => ({
      nodeId,
      status: peer?.gone.has(nodeId) === true ? 'dead' : 'alive',
      incarnation: 1,
      record: { name: nodeId } as NodeRecord,
      self: nodeId === name,
    }))
  }

  #lose(peer: Peer, other: string): void {
    peer.gone.add(other)
    peer.changes.publish(undefined)
  }

  #spread(from: string): void {
    const sender = this.peers.get(from)
    if (sender === undefined) return
    const status = {
      ...{ unit: 'report', instance: '', replica: 0, kind: 'managed', state: 'completed', ready: false, ports: {} },
      job: { run: '', schedule: TERMS.cron, active: sender.active, nextRunMs: undefined },
    } as unknown as InstanceStatus
    const claim = sender.claims.claimOf('report')
    const registration = toRegistration(status, { services: [], draining: false, claim })
    for (const [name, peer] of this.peers) {
      if (name === from) continue
      this.#later(DELAY_MS, () => {
        if (this.#cut.has(`${from} ${name}`)) return
        peer.heard.set(from, registration)
        peer.changes.publish(undefined)
      })
    }
  }

  #later(ms: number, task: () => void): void {
    void this.clock.sleep(ms).then(task)
  }
}

const momentsOf = (runs: readonly string[]): string[] => runs.map((run) => run.slice(0, 5))
const minutes = (count: number, from = 1): string[] =>
  Array.from({ length: count }, (_, index) => `00:${String(index + from).padStart(2, '0')}`)

t.test('each moment is run once over all nodes, by turns', async (t) => {
  const plant = new Plant(t)
  for (const name of ['a', 'b', 'c']) plant.add(name)
  await plant.pass(30 * MINUTE_MS)
  t.same(momentsOf(plant.runs), minutes(30))
  t.same(new Set(plant.runs.map((run) => run.slice(6))), new Set(['a', 'b', 'c']), 'not always the same')
})

t.test('the moment of a node that is dead is taken over by another, and none is run twice', async (t) => {
  const plant = new Plant(t)
  for (const name of ['a', 'b', 'c']) plant.add(name)
  await plant.pass(5 * MINUTE_MS)
  const before = plant.runs.length
  // Just before a moment, so that nobody has noticed when it comes.
  await plant.pass(29_500)
  plant.kill('a')
  await plant.pass(10 * MINUTE_MS)
  t.same(momentsOf(plant.runs), minutes(before + 10))
  t.notOk(plant.runs.slice(before).some((run) => run.endsWith('a')))
  plant.kill('b')
  await plant.pass(5 * MINUTE_MS)
  t.same(momentsOf(plant.runs), minutes(before + 15))
})

t.test('a node that dies when it has taken up a moment has run it: nobody does it again', async (t) => {
  const plant = new Plant(t)
  for (const name of ['a', 'b', 'c']) plant.add(name)
  for (let round = 1; plant.peers.size > 1; round += 1) {
    while (plant.runs.length < round) await plant.pass(250)
    plant.kill(plant.runs.at(-1)?.slice(6) ?? '')
    await plant.pass(50_000)
    t.same(momentsOf(plant.runs), minutes(round))
  }
})

t.test('a node that comes later, or was away, makes up for nothing that another ran', async (t) => {
  const plant = new Plant(t)
  const earlierMs = plant.clock.wallMs()
  plant.add('a')
  await plant.pass(2 * MINUTE_MS)
  plant.add('b', { knownMs: earlierMs })
  await plant.pass(2 * MINUTE_MS)
  t.same(momentsOf(plant.runs), minutes(4))
  const isOfA = (): boolean => plant.runs.at(-1)?.endsWith('a') === true
  while (!isOfA()) await plant.pass(MINUTE_MS)
  plant.kill('a')
  await plant.pass(DETECTION_MS + 1_000)
  plant.add('c', { knownMs: earlierMs })
  await plant.pass(20_000)
  t.ok(isOfA(), 'b passes on what a said')
  t.same(momentsOf(plant.runs), minutes(plant.runs.length))
})

t.test('what no node was there for is made up for by one of them', async (t) => {
  const plant = new Plant(t)
  const earlierMs = plant.clock.wallMs() - 10 * MINUTE_MS
  for (const name of ['a', 'b', 'c']) plant.add(name, { knownMs: earlierMs })
  await plant.pass(25_000)
  t.same(momentsOf(plant.runs), ['00:00'])
})

t.test('parts of a mesh that is cut in two each run every moment; together again, one does', async (t) => {
  const plant = new Plant(t)
  plant.add('a')
  plant.add('b')
  await plant.pass(2 * MINUTE_MS)
  t.same(momentsOf(plant.runs), minutes(2))
  plant.cut('a', 'b')
  await plant.pass(3 * MINUTE_MS)
  t.same(momentsOf(plant.runs).slice(2).toSorted(), ['00:03', '00:03', '00:04', '00:04', '00:05', '00:05'])
  plant.repair()
  await plant.pass(3 * MINUTE_MS)
  t.same(momentsOf(plant.runs).slice(8), minutes(3, 6))
})

t.test('a node whose clock is far ahead does not keep the others from running', async (t) => {
  const plant = new Plant(t)
  for (const name of ['a', 'b']) plant.add(name)
  await plant.pass(MINUTE_MS)
  plant.peers.get('a')?.claims.announce('report', plant.peers.get('a')?.ticker?.key ?? '', Date.UTC(2026, 0, 1))
  await plant.pass(3 * MINUTE_MS)
  t.same(momentsOf(plant.runs), minutes(4))
})

t.test('runs on other nodes are seen, and can be stopped from here', async (t) => {
  const plant = new Plant(t)
  for (const name of ['a', 'b', 'c']) plant.add(name)
  const b = plant.peers.get('b') as Peer
  b.active = 2
  plant.spread('b')
  await plant.pass(1_000)
  t.equal(plant.look('a')?.busyElsewhere, 2)
  t.equal(plant.look('b')?.busyElsewhere, 0)
  await plant.peers.get('a')?.claims.stopElsewhere('report', new AbortController().signal)
  t.same(plant.stopped, ['report on b by a'])
})
