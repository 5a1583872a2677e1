import t from 'tap'
import { missing, untilAsBefore } from '../../../src/node/as-before.ts'
import {
  type FromPredecessor,
  type FromSuccessor,
  type Replaced,
  type Successor,
  swap,
} from '../../../src/node/succession.ts'
import { createUpgrade } from '../../../src/node/upgrade.ts'
import type { InstanceStatus } from '../../../src/process/index.ts'
import { memoryLog } from '../../support/memory-log.ts'
import { SimClock } from '../../../src/sim/sim-clock.ts'
import { throwsReason } from '../../support/throws-reason.ts'

const READY: FromSuccessor = { kind: 'ready' }
const PREPARED: FromSuccessor = { kind: 'prepared', version: '9.9.9' }
const SERVING: FromSuccessor = { kind: 'serving' }

/** A new process that says `lines`, then ends; and a node that writes down what is done with it. */
function setUp(
  lines: readonly (FromSuccessor | 'silence')[],
  faults: Partial<Record<'letGo' | 'takeBack', Error>> = {},
) {
  const happened: string[] = []
  const clock = new SimClock()
  const rest = [...lines]
  const successor: Successor = {
    pid: 4711,
    next: () => {
      const line = rest.shift()
      return line === 'silence' ? new Promise(() => undefined) : Promise.resolve(line)
    },
    give: ({ kind }: FromPredecessor) => void happened.push(`give ${kind}`),
    kill: async () => void happened.push('kill'),
    release: () => void happened.push('release'),
  }
  const node: Replaced = {
    clock,
    dataDir: '/data',
    handles: () => ({ ingress: undefined, link: undefined, admin: undefined, xds: undefined, tcp: [] }),
    async letGo(pid) {
      happened.push(`let go to ${pid}`)
      if (faults.letGo !== undefined) throw faults.letGo
      return { ready: [], offering: [] }
    },
    async leaveMesh() {
      happened.push('leave mesh')
      return { members: [], listened: undefined }
    },
    async takeBack() {
      happened.push('take back')
      if (faults.takeBack !== undefined) throw faults.takeBack
    },
  }
  return { happened, clock, node, spawn: () => Promise.resolve(successor) }
}

const ALL = ['let go to 4711', 'give units', 'leave mesh', 'give mesh']

t.test('a new process that does all it must takes the place of the old one', async (t) => {
  const { spawn, node, happened } = setUp([PREPARED, READY, SERVING])
  t.same(await swap(spawn, node), { pid: 4711, version: '9.9.9' })
  t.same(happened, [...ALL, 'release'])
})

t.test('before the units are given up a failure costs nothing', async (t) => {
  for (const lines of [
    [],
    [{ kind: 'failed', reason: 'CONFIG_INVALID', message: 'bad' }],
    [READY],
  ] as FromSuccessor[][]) {
    const { spawn, node, happened } = setUp(lines)
    await t.rejects(swap(spawn, node), /not upgraded, the old process goes on/)
    t.same(happened, ['kill'])
  }
})

t.test('after that everything is taken back, but only once the new process is gone for certain', async (t) => {
  for (const lines of [
    [PREPARED],
    [PREPARED, READY],
    [PREPARED, READY, { kind: 'failed', reason: 'NODE_EXISTS', message: 'x' }],
  ]) {
    const { spawn, node, happened } = setUp(lines as FromSuccessor[])
    await t.rejects(swap(spawn, node))
    t.same(happened.slice(-2), ['kill', 'take back'])
  }
  const torn = setUp([PREPARED, READY, SERVING], { letGo: new Error('disk full') })
  await t.rejects(swap(torn.spawn, torn.node), /disk full/)
  t.same(torn.happened, ['let go to 4711', 'kill', 'take back'])
})

t.test('a new process that says nothing is given a minute', async (t) => {
  const { spawn, node, happened, clock } = setUp([PREPARED, 'silence'])
  const swapping = swap(spawn, node)
  swapping.catch(() => undefined)
  await clock.advance(59_000)
  t.notOk(happened.includes('kill'))
  await clock.advance(2_000)
  await throwsReason(t, 'UPGRADE_FAILED', () => swapping)
  t.same(happened.slice(-2), ['kill', 'take back'])
})

t.test('the reason of the new process is that of the upgrade', async (t) => {
  const { spawn, node } = setUp([{ kind: 'failed', reason: 'CONFIG_INVALID', message: 'hsu.yaml:1:1: bad' }])
  await throwsReason(t, 'CONFIG_INVALID', () => swap(spawn, node))
})

t.test('an upgrade is one at a time, and says whether another process has the node', async (t) => {
  const { spawn, node, clock } = setUp([PREPARED, 'silence'])
  const done: number[] = []
  const upgrade = createUpgrade({
    ...{ log: memoryLog(), news: { tell: () => '' }, node, spawn },
    done: (drainMs) => void done.push(drainMs),
    lost: () => t.fail('nothing is lost'),
  })
  t.equal(await upgrade.settled(), undefined)
  const first = upgrade.run({ drainMs: 1, actor: 'me' })
  first.catch(() => undefined)
  await throwsReason(t, 'UPGRADE_FAILED', () => upgrade.run({ drainMs: 1, actor: 'me' }))
  await clock.advance(1)
  t.ok(upgrade.isReplaced)
  await clock.advance(61_000)
  await throwsReason(t, 'UPGRADE_FAILED', () => first)
  t.notOk(upgrade.isReplaced)
  t.equal(await upgrade.settled(), undefined)
  t.same(done, [])
})

t.test('a node that cannot be taken back ends', async (t) => {
  const { spawn, node } = setUp([PREPARED], { takeBack: new Error('node x already runs') })
  let lost = 0
  const upgrade = createUpgrade({
    ...{ log: memoryLog(), news: { tell: () => '' }, node, spawn },
    done: () => undefined,
    lost: () => (lost += 1),
  })
  await t.rejects(upgrade.run({ drainMs: 1, actor: 'me' }))
  t.equal(lost, 1)
  t.ok(upgrade.isReplaced, 'its units are not to be touched')
})

t.test('a node inside another program says that it cannot be replaced', async (t) => {
  const { node } = setUp([])
  const seams = { log: memoryLog(), news: { tell: () => '' }, node, spawn: undefined }
  const upgrade = createUpgrade({ ...seams, done: () => undefined, lost: () => undefined })
  await throwsReason(t, 'UNSUPPORTED', () => upgrade.run({ drainMs: 1, actor: 'me' }))
})

const statusOf = (instance: string, ready: boolean): InstanceStatus => ({ instance, ready }) as InstanceStatus

t.test('what was ready and is not, or offers nothing any more, is missing; what has ended is not', async (t) => {
  const inheritance = { ready: ['a', 'b', 'c', 'gone'], offering: ['b', 'c', 'gone'] }
  const status = (): InstanceStatus[] => [statusOf('a', false), statusOf('b', true), statusOf('c', true)]
  const servicesOf = ({ instance }: InstanceStatus): string[] => (instance === 'b' ? ['echo.v1.Echo'] : [])
  t.same(missing(inheritance, { clock: new SimClock(), status, servicesOf }), ['a', 'c'])
})

t.test('units that do not become ready are named in the end, unless nobody else serves', async (t) => {
  const clock = new SimClock()
  const now = { clock, status: () => [statusOf('a', false)], servicesOf: () => [] }
  const gone = new AbortController()
  const refused = untilAsBefore({ ready: ['a'], offering: [] }, now, gone.signal)
  refused.catch(() => undefined)
  await clock.advance(20_000)
  await t.rejects(refused, /not ready as they were: a/)

  const accepted = untilAsBefore({ ready: ['a'], offering: [] }, now, gone.signal)
  gone.abort()
  await t.resolves(accepted)
})
