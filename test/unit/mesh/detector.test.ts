import t from 'tap'
import type { Clock } from '../../../src/base/clock.ts'
import { createTaskGroup } from '../../../src/base/task-group.ts'
import { lan, MeshConfig } from '../../../src/mesh/config.ts'
import { createPace } from '../../../src/mesh/detector/pace.ts'
import { createAwareness } from '../../../src/mesh/detector/awareness.ts'
import { Detector } from '../../../src/mesh/detector/detector.ts'
import { createPingOrder } from '../../../src/mesh/detector/ping-order.ts'
import type { Pinger, PingResult } from '../../../src/mesh/detector/pinger.ts'
import {
  addVoice,
  confirmationsWanted,
  newSuspicion,
  type Suspicion,
  suspicionMinMs,
  suspicionMs,
} from '../../../src/mesh/detector/suspicion.ts'
import { createStalls, UNWATCHED } from '../../../src/mesh/detector/stalls.ts'
import { createIdentity, type Identity } from '../../../src/mesh/identity.ts'
import type { Rumour, SignedRecord } from '../../../src/mesh/member.ts'
import { Membership, type MembershipListener } from '../../../src/mesh/membership.ts'
import { checkTiming, timingOf } from '../../../src/mesh/timing.ts'
import { signRecord } from '../../../src/mesh/record.ts'
import { seeded } from '../../../src/sim/seeded.ts'
import { SimClock } from '../../../src/sim/sim-clock.ts'

function recordOf(identity: Identity, incarnation: number, startedIncarnation = 1): SignedRecord {
  return signRecord(identity, {
    nodeId: identity.nodeId,
    name: 'x',
    incarnation,
    startedIncarnation,
    recordVersion: 1,
    meshAddresses: [],
    linkAddresses: [],
    linkFingerprint: '',
    labels: {},
    version: '',
  })
}

const voices = (...lost: boolean[]): Suspicion => {
  let suspicion = newSuspicion(0)
  for (const [index, linkLost] of lost.entries()) suspicion = addVoice(suspicion, `v${index}`, linkLost)
  return suspicion
}

/** That of a network on which somebody has answered at once. */
function fastPace() {
  const pace = createPace(lan.pingTimeoutMs)
  pace.note('somebody', 1)
  return pace
}

t.test('suspicion', async (t) => {
  t.test('shortens with each independent voice, down to the shortest', async (t) => {
    t.equal(confirmationsWanted(10, lan), 2)
    t.equal(suspicionMs(voices(false), 10, lan), 2_400)
    t.equal(suspicionMs(voices(false, false), 10, lan), Math.round(2_400 - (2_000 * Math.log(2)) / Math.log(3)))
    t.equal(suspicionMs(voices(false, false, false), 10, lan), 400)
    t.equal(suspicionMs(voices(false, false, false, false, false), 10, lan), 400)
    t.equal(suspicionMs(newSuspicion(0), 10, lan), 2_400, 'hearsay without a voice counts as one')
  })

  t.test('grows with the logarithm of the mesh', async (t) => {
    t.equal(suspicionMinMs(2, lan), 400)
    t.equal(suspicionMinMs(10, lan), 400)
    t.equal(suspicionMinMs(100, lan), 800)
    t.equal(suspicionMs(voices(false, false, false), 100, lan), 800)
  })

  t.test('in a mesh of three one confirmation is all there can be, in a mesh of two none', async (t) => {
    t.equal(suspicionMs(voices(false), 3, lan), 2_400)
    t.equal(suspicionMs(voices(false, false), 3, lan), 400)
    t.equal(suspicionMs(voices(false), 2, lan), 1_200)
  })

  t.test('is over at once when all who had to confirm lost their connection', async (t) => {
    t.equal(suspicionMs(voices(true), 2, lan), 80)
    t.equal(suspicionMs(voices(true), 3, lan), 2_400, 'one alone may have a broken cable')
    t.equal(suspicionMs(voices(true, true), 3, lan), 80)
    t.equal(suspicionMs(voices(true, true, false), 10, lan), 400)
    t.equal(suspicionMs(voices(true, true, true), 10, lan), 80)
  })

  t.test('a voice counts once, and only the weightier of what it said', async (t) => {
    const once = addVoice(newSuspicion(0), 'a', false)
    t.equal(addVoice(once, 'a', false), once)
    const lost = addVoice(once, 'a', true)
    t.same([...lost.voices], [['a', true]])
    t.equal(addVoice(lost, 'a', false), lost)
    const crowd = voices(...Array.from({ length: 50 }, () => false))
    t.equal(crowd.voices.size, 16)
    t.ok(addVoice(crowd, 'self', false, true).voices.has('self'), 'there is room for the own voice')
  })
})

t.test('awareness stretches timeouts with bad health and a late event loop, within a bound', async (t) => {
  const awareness = createAwareness()
  t.equal(awareness.multiplier(), 1)
  awareness.note(2)
  t.equal(awareness.multiplier(), 3)
  awareness.wasLate(450)
  t.same([awareness.multiplier(), awareness.multiplier()], [5, 5], 'reading it does not use it up')
  awareness.note(100)
  t.equal(awareness.multiplier(), 8)
  awareness.wasLate(-1)
  awareness.note(-100)
  t.equal(awareness.multiplier(), 1)
})

t.test('stalls', async (t) => {
  t.test('are what the event loop tells and what others here notice, by when they ended', async (t) => {
    const clock = new SimClock()
    let maxMs = 0
    const loop = { read: () => ({ maxMs }) }
    const stalls = createStalls(clock, loop)
    await clock.advance(1_000)
    t.equal(stalls.longestSince(0), 0)
    t.equal(stalls.awakeSinceMs(100), -Infinity)
    stalls.note(300)
    maxMs = 150
    await clock.advance(1_000)
    t.equal(stalls.longestSince(0), 300)
    t.equal(stalls.longestSince(1_500), 150)
    t.equal(stalls.awakeSinceMs(200), 1_000)
    t.equal(stalls.awakeSinceMs(100), 2_000)
    maxMs = 20
    await clock.advance(1_000)
    t.equal(stalls.longestSince(2_500), 0, 'short ones are the everyday of a busy process')
  })

  t.test('a machine that slept shows in the wall clock, and a clock that was set back does not', async (t) => {
    const clock = new SimClock()
    const stalls = createStalls(clock, UNWATCHED)
    await clock.advance(1_000)
    clock.setWall(clock.wallMs() + 3_600_000)
    t.equal(stalls.longestSince(0), 3_600_000)
    t.equal(stalls.awakeSinceMs(200), 1_000)
    await clock.advance(1_000)
    clock.setWall(clock.wallMs() - 86_400_000)
    t.equal(stalls.longestSince(1_500), 0)
    await clock.advance(1_000)
    t.equal(stalls.longestSince(1_500), 0)
  })
})

t.test('ping order', async (t) => {
  t.test('goes through all before it comes to one again, nearly', async (t) => {
    const order = createPingOrder(seeded(1))
    const names = ['a', 'b', 'c', 'd', 'e']
    const last = new Map<string, number>()
    let longest = 0
    for (let turn = 0; turn < 500; turn += 1) {
      const chosen = order.next(names, turn * 400, 0)?.nodeId ?? ''
      if (last.has(chosen)) longest = Math.max(longest, turn - (last.get(chosen) ?? 0))
      last.set(chosen, turn)
    }
    t.same([...last.keys()].sort(), names)
    t.ok(longest <= 8, `${longest} turns`)
  })

  t.test('passes over whoever was heard from, and begins with whoever is new', async (t) => {
    const order = createPingOrder(seeded(1))
    order.next(['a', 'b'], 0, 0)
    order.next(['a', 'b'], 100, 0)
    order.heard('a', 1_000)
    t.equal(order.next(['a', 'b'], 1_100, 0)?.nodeId, 'b')
    t.equal(order.next(['a', 'b', 'c'], 1_200, 0)?.nodeId, 'c')
    t.equal(order.next([], 1_300, 0), undefined)
  })

  t.test('leaves alone whoever was heard a moment ago, and says when that is over', async (t) => {
    const order = createPingOrder(seeded(1))
    t.same(order.next(['a'], 0, 400), { nodeId: 'a', dueInMs: 0 }, 'who is new is due')
    t.same(order.next(['a'], 300, 400), { nodeId: 'a', dueInMs: 100 })
    order.heard('a', 350)
    t.same(order.next(['a'], 400, 400), { nodeId: 'a', dueInMs: 350 }, 'asking counted for nothing')
    t.same(order.next(['a'], 750, 400), { nodeId: 'a', dueInMs: 0 })
    order.recall('a')
    t.same(order.next(['a'], 760, 400), { nodeId: 'a', dueInMs: 0 }, 'a ping that proved nothing is repeated')
  })
})

t.test('config: presets are differences, and a typo is a fault', async (t) => {
  const minimal = MeshConfig.parse({ name: 'plant-7', key_file: '/k' })
  const rest = { preset: 'lan', timing: {}, certificate_lifetime: 365 * 86_400_000 }
  t.same(minimal, { name: 'plant-7', key_file: '/k', discovery: { mdns: true, seeds: [] }, ...rest })
  const seeds = ['10.0.0.5:9471', 'host.lan:1', '[fe80::1]:9471']
  t.ok(MeshConfig.safeParse({ name: 'a', key_file: '/k', discovery: { seeds, interfaces: ['eth0'] } }).success)
  for (const bad of [
    { name: 'a' },
    { name: 'A B', key_file: '/k' },
    { name: 'a', key_file: '/k', discovery: { mdsn: true } },
    { name: 'a', key_file: '/k', discovery: { seeds: ['10.0.0.5'] } },
    { name: 'a', key_file: '/k', preset: 'moon' },
    { name: 'a', key_file: '/k', certificate_lifetime: '1m' },
  ]) {
    t.notOk(MeshConfig.safeParse(bad).success, JSON.stringify(bad))
  }
})

t.test('timing', async (t) => {
  const faultsOf = (timing: object, preset = 'lan'): string[] =>
    MeshConfig.safeParse({ name: 'a', key_file: '/k', preset, timing }).error?.issues.map(
      ({ path, message }) => `${path.join('.')}: ${message}`,
    ) ?? []

  t.test('of each preset fits together, and single values change it', async (t) => {
    for (const preset of ['lan', 'local', 'wan'] as const) t.same(checkTiming(preset, {}), [], preset)
    const { preset, timing } = MeshConfig.parse({ name: 'a', key_file: '/k', timing: { ping_period: '1s' } })
    t.same(timingOf(preset, timing), { ...lan, pingPeriodMs: 1_000 })
  })

  t.test('that makes no sense is refused with the value that it would need', async (t) => {
    t.same(faultsOf({ ping_timeout: '2s', ping_period: '1s' }, 'wan'), [
      'timing.ping_period: must be at least ping_timeout (2000 ms)',
      'timing.indirect_timeout: must be at least ping_timeout (2000 ms)',
      'timing.suspicion_min: must be at least ping_timeout + indirect_timeout (3500 ms)',
    ])
    t.same(faultsOf({ link_loss: '1s' }), ['timing.suspicion_min: must be at least link_loss (1000 ms)'])
    t.same(faultsOf({ suspicion_alone: '300ms' }), [
      'timing.suspicion_alone: must be at least twice ping_timeout (400 ms)',
    ])
    t.same(faultsOf({ dead_kept: '1s' }), ['timing.dead_kept: must be at least 10 times sync_interval (20000 ms)'])
    t.equal(faultsOf({ indirect_pings: 11 }).length, 1)
    t.equal(faultsOf({ ping_perod: '1s' }).length, 1, 'a typo')
  })
})

t.test('detector', async (t) => {
  /** A detector with one other member; `jump` lets time pass that nobody was awake for. */
  function lab(direct: () => Promise<PingResult>) {
    const sim = new SimClock()
    let jumpedMs = 0
    const clock: Clock = {
      nowMs: () => sim.nowMs() + jumpedMs,
      wallMs: () => sim.wallMs(),
      sleep: (ms, signal) => sim.sleep(ms, signal),
    }
    const x = createIdentity()
    const spoken: string[] = []
    /** What the event loop tells when it is next asked. */
    const loopMs: number[] = []
    const listener: MembershipListener = {
      onStatus: ({ member }) => {
        if (member.status !== 'suspect') detector.cleared(member.nodeId)
      },
      onSuspicion: (entry) => detector.suspected(entry),
      onRecord: () => undefined,
      onForgotten: () => undefined,
    }
    const members = new Membership({ clock, listener }, { timing: lan, self: 'self' })
    const awareness = createAwareness()
    const tasks = createTaskGroup((error) => spoken.push(`failed: ${String(error)}`))
    const pinger: Pinger = {
      direct,
      indirect: async () => ({ alive: false, asked: 0, answered: 0 }),
      onBehalf: () => Promise.reject(new Error('not asked here')),
    }
    const detector: Detector = new Detector(
      {
        clock,
        random: seeded(1),
        membership: members,
        self: 'self',
        awareness,
        pace: fastPace(),
        pinger,
        tasks,
        stalls: createStalls(clock, { read: () => ({ maxMs: loopMs.splice(0).reduce((a, b) => Math.max(a, b), 0) }) }),
        spread: ({ status }) => spoken.push(status),
      },
      lan,
    )
    members.takeRecord(recordOf(x, 1), 'x')
    const status = () => members.get(x.nodeId)?.member.status
    const jump = (ms: number): void => {
      jumpedMs += ms
    }
    return { sim, x, members, detector, spoken, loopMs, tasks, status, jump, awareness }
  }

  t.test('a member that is silent is suspect, tried again, and dead after the time of a mesh of two', async (t) => {
    let pings = 0
    const { sim, detector, spoken, status, tasks } = lab(async () => {
      pings += 1
      return 'silent'
    })
    detector.start()
    await sim.advance(1)
    t.equal(status(), 'suspect')
    await sim.advance(lan.suspicionAloneMs - 10)
    t.equal(status(), 'suspect')
    t.ok(pings > 5)
    await sim.advance(20)
    t.equal(status(), 'dead')
    t.same(spoken, ['suspect', 'dead'])
    await tasks.stop()
    t.equal(sim.sleeping, 0)
  })

  t.test('a node that slept during its ping accuses nobody', async (t) => {
    const { sim, detector, status, spoken, jump } = lab(async () => {
      jump(5_000)
      return 'silent'
    })
    detector.start()
    await sim.advance(1)
    t.equal(status(), 'alive')
    t.same(spoken, [])
  })

  t.test('a block of the event loop counts for the round after it, wherever it begins', async (t) => {
    for (const blockAt of ['rest', 'ping'] as const) {
      let block = false
      const seen: number[] = []
      const made = lab(async () => {
        seen.push(made.awareness.multiplier(), made.awareness.multiplier())
        if (block && blockAt === 'ping') made.jump(1_500)
        block = false
        return 'alive'
      })
      const { sim, detector, tasks, jump } = made
      detector.start()
      await sim.advance(1)
      if (blockAt === 'rest') jump(1_500)
      else block = true
      await sim.advance(8_000)
      t.same(seen.slice(0, 2), [1, 1])
      const first = Math.max(...seen)
      t.ok(first >= 5, `${blockAt}: ${first}`)
      t.equal(seen.filter((multiplier) => multiplier === first).length, 2, `${blockAt}: both reads of one round`)
      t.same(seen.slice(-2), [1, 1], 'and not for ever')
      await tasks.stop()
    }
  })

  t.test('a node that slept through the end of a suspicion waits for what it may have missed', async (t) => {
    const { sim, detector, x, status, jump } = lab(async () => 'silent')
    detector.connectionLost(x.nodeId)
    await sim.advance(lan.linkLossMs - 10)
    t.equal(status(), 'suspect')
    jump(5_000)
    await sim.advance(20)
    t.equal(status(), 'suspect')
    await sim.advance(lan.suspicionMinMs)
    t.equal(status(), 'dead')
  })

  t.test('a ping that failed while the event loop was blocked proves nothing, and is repeated at once', async (t) => {
    let blocked = true
    let pings = 0
    const made = lab(async () => {
      pings += 1
      if (!blocked) return 'alive'
      blocked = false
      made.jump(lan.pingTimeoutMs)
      made.loopMs.push(lan.pingTimeoutMs)
      return 'silent'
    })
    const { sim, detector, spoken, awareness } = made
    detector.start()
    await sim.advance(1)
    t.same(spoken, [])
    t.equal(awareness.multiplier(), 2, 'and speaks against this node')
    await sim.advance(2 * lan.pingPeriodMs * 1.1)
    t.equal(pings, 2, 'in the next round, not when its turn comes again')
  })

  t.test('connections that are lost while this node sleeps or is stopped are no news of others', async (t) => {
    const { sim, detector, x, loopMs, spoken, status } = lab(async () => 'alive')
    loopMs.push(3_000)
    detector.connectionLost(x.nodeId)
    await sim.advance(10_000)
    t.same(spoken, [], 'it was tried, and answered')

    const gone = lab(async () => 'silent')
    gone.loopMs.push(3_000)
    gone.detector.connectionLost(gone.x.nodeId)
    t.equal(gone.status(), 'alive')
    await gone.sim.advance(lan.suspicionMinMs + 1)
    t.equal(gone.status(), 'suspect', 'tried, and silent')
    await gone.sim.advance(lan.suspicionAloneMs + 10)
    t.equal(gone.status(), 'dead')
    t.equal(status(), 'alive')
  })

  t.test('a suspect that answers is not declared dead, even while its refutation is missing', async (t) => {
    const { sim, detector, x, status, tasks } = lab(async () => 'alive')
    detector.connectionLost(x.nodeId)
    await sim.advance(10_000)
    t.equal(status(), 'suspect')
    await tasks.stop()
  })

  t.test('a verdict that others only tell of is checked before it is spoken', async (t) => {
    const { sim, members, x, status, spoken } = lab(async () => 'alive')
    const { nodeId } = x
    members.hear({ nodeId, status: 'suspect', incarnation: 1, from: 'b', linkLost: true }, 'b')
    await sim.advance(10_000)
    t.equal(status(), 'suspect')
    t.same(spoken, [])
  })
})

t.test('membership', async (t) => {
  const self = createIdentity()
  const x = createIdentity()
  const rumour = (status: Rumour['status'], incarnation: number, from = 'b'): Rumour => ({
    nodeId: x.nodeId,
    status,
    incarnation,
    from,
    linkLost: false,
  })

  function membership() {
    const clock = new SimClock()
    const heard: string[] = []
    const listener: MembershipListener = {
      onStatus: ({ member }, before) => heard.push(`${before ?? 'new'}>${member.status}@${member.incarnation}`),
      onSuspicion: ({ suspicion }) => heard.push(`voices ${suspicion?.voices.size}`),
      onRecord: ({ signed }) => heard.push(`record @${signed.record.incarnation}`),
      onForgotten: () => heard.push('forgotten'),
    }
    const members = new Membership({ clock, listener }, { timing: lan, self: self.nodeId })
    return { clock, heard, members, status: () => members.get(x.nodeId)?.member.status }
  }

  t.test(
    'a member begins with its record; rumours of strangers and of unproven incarnations are nothing',
    async (t) => {
      const { members, heard, status } = membership()
      members.hear(rumour('dead', 1), 'b')
      t.equal(status(), undefined)
      members.takeRecord(recordOf(x, 1), 'b')
      t.same(heard, ['new>alive@1', 'record @1'])
      members.hear(rumour('dead', 2), 'b')
      members.hear(rumour('left', 2 ** 40), 'b')
      t.equal(status(), 'alive')
      t.equal(members.size, 2)
    },
  )

  t.test('a replayed or equal record changes nothing, and its own record never enters', async (t) => {
    const { members, heard } = membership()
    members.takeRecord(recordOf(x, 3), 'b')
    const before = heard.length
    members.takeRecord(recordOf(x, 3), 'b')
    members.takeRecord(recordOf(x, 2), 'b')
    members.takeRecord(recordOf(self, 9), 'b')
    t.equal(heard.length, before)
    t.equal(members.entries().length, 1)
  })

  t.test('suspicion, death, and only a higher incarnation brings back', async (t) => {
    const { members, heard, status } = membership()
    members.takeRecord(recordOf(x, 1), 'b')
    members.suspect(x.nodeId, false)
    members.hear(rumour('suspect', 1, 'c'), 'c')
    members.hear(rumour('suspect', 1, 'c'), 'd')
    members.declareDead(x.nodeId)
    members.hear(rumour('suspect', 1, 'd'), 'd')
    members.suspect(x.nodeId, true)
    t.equal(status(), 'dead')
    members.takeRecord(recordOf(x, 2), 'b')
    t.same(heard, [
      'new>alive@1',
      'record @1',
      'alive>suspect@1',
      'voices 1',
      'voices 2',
      'suspect>dead@1',
      'dead>alive@2',
      'record @2',
    ])
    members.hear(rumour('dead', 1), 'b')
    t.equal(status(), 'alive', 'old news')
  })

  t.test('hearsay of a death is a suspicion until this node has reason of its own, or has waited', async (t) => {
    const { members, status, clock } = membership()
    members.takeRecord(recordOf(x, 1), 'b')
    members.hear(rumour('dead', 1), 'b')
    t.equal(status(), 'suspect')
    members.hear(rumour('dead', 1), 'c')
    t.equal(status(), 'suspect')
    await clock.advance(200)
    members.hear(rumour('dead', 1), 'c')
    t.equal(status(), 'dead')

    const other = membership()
    other.members.takeRecord(recordOf(x, 1), 'b')
    other.members.suspect(x.nodeId, true)
    other.members.hear(rumour('dead', 1), 'b')
    t.equal(other.status(), 'dead')
  })

  t.test('whoever is dead here is not believed when it speaks ill of others, whoever passes that on', async (t) => {
    const { members, status, clock } = membership()
    const cutOff = createIdentity()
    members.takeRecord(recordOf(x, 1), 'b')
    members.takeRecord(recordOf(cutOff, 1), 'b')
    members.hear({ ...rumour('suspect', 1), nodeId: cutOff.nodeId }, 'b')
    members.declareDead(cutOff.nodeId)
    for (const news of ['suspect', 'dead'] as const) {
      members.hear(rumour(news, 1, cutOff.nodeId), cutOff.nodeId)
      members.hear(rumour(news, 1, cutOff.nodeId), 'b')
      members.hear(rumour(news, 1, ''), cutOff.nodeId)
    }
    t.equal(status(), 'alive')
    members.takeRecord(recordOf(cutOff, 2), cutOff.nodeId)
    members.hear(rumour('dead', 1, cutOff.nodeId), cutOff.nodeId)
    t.equal(status(), 'alive', 'it is only just back')
    await clock.advance(1_000)
    members.hear(rumour('dead', 1, cutOff.nodeId), cutOff.nodeId)
    t.equal(status(), 'suspect', 'it may have reason by now')
    members.hear({ ...rumour('left', 1), from: cutOff.nodeId }, 'b')
    t.equal(status(), 'left')
  })

  t.test('leaving is believed at once', async (t) => {
    const { members, status } = membership()
    members.takeRecord(recordOf(x, 1), 'b')
    members.hear(rumour('left', 1, x.nodeId), x.nodeId)
    t.equal(status(), 'left')
  })

  t.test('the gone are forgotten after their time, those who left sooner', async (t) => {
    const { members, heard, clock } = membership()
    members.takeRecord(recordOf(x, 1), 'b')
    members.hear(rumour('left', 1), 'b')
    await clock.advance(lan.leftTombstoneMs - 1)
    members.expire()
    t.equal(members.entries().length, 1)
    await clock.advance(1)
    members.expire()
    t.equal(members.entries().length, 0)
    t.equal(heard.at(-1), 'forgotten')
    members.takeRecord(recordOf(x, 1), 'b')
    members.suspect(x.nodeId, true)
    members.declareDead(x.nodeId)
    await clock.advance(lan.leftTombstoneMs)
    members.expire()
    t.equal(members.entries().length, 1)
    await clock.advance(lan.deadTombstoneMs)
    members.expire()
    t.equal(members.entries().length, 0)
  })

  t.test('more tombstones than the bound push out the oldest', async (t) => {
    const { members, clock } = membership()
    const ids: string[] = []
    for (let index = 0; index < 1_003; index += 1) {
      const identity = createIdentity()
      ids.push(identity.nodeId)
      members.takeRecord(recordOf(identity, 1), 'b')
      members.hear({ ...rumour('left', 1), nodeId: identity.nodeId }, 'b')
      if (index < 3) await clock.advance(1)
    }
    members.expire()
    t.equal(members.entries().length, 1_000)
    t.same(
      ids.slice(0, 3).map((id) => members.get(id)),
      [undefined, undefined, undefined],
    )
  })
})
