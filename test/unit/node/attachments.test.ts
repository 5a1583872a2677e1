import t, { type Test } from 'tap'
import { createAttachments } from '../../../src/node/attachments.ts'
import { World } from '../../support/sim-world.ts'
import { memoryLog } from '../../support/memory-log.ts'
import { simStore } from '../../../src/sim/sim-store.ts'
import { throwsReason } from '../../support/throws-reason.ts'
import { unitSpec } from '../../support/unit-spec.ts'

const run = ['/bin/program']
const asker = { actor: 'anna from the command line' }
const never = new AbortController().signal
const variables = { nodeName: 'n', dataDir: '/d' }

async function setUp(t: Test, units = ['api']) {
  const world = new World(t)
  const specs = units.map((name) => unitSpec(name, { run }))
  const node = async () => {
    const seen = await world.supervise(specs)
    const { supervisor } = seen
    const store = simStore(world.disk)
    const attachments = createAttachments({ clock: world.clock, log: memoryLog(), store, supervisor, variables })
    return { seen, attachments, supervisor }
  }
  /** The look takes a moment of simulated time. */
  const settled = async <T>(task: Promise<T>): Promise<T> => {
    const ended = { is: false }
    const end = (): void => void (ended.is = true)
    void task.then(end, end)
    for (let n = 0; n < 100 && !ended.is; n += 1) await world.clock.advance(50)
    return task
  }
  return { world, node, settled }
}

t.test('what is attached is on disk, and there again with the next node, until it is detached', async (t) => {
  const { world, node, settled } = await setUp(t)
  const first = await node()
  await first.seen.pass(0)
  await settled(first.attachments.attach({ unit: 'eye', find: { name: 'main' }, allowSignal: true }, [], asker, never))
  t.match(first.seen.status('eye'), { state: 'up', origin: 'attached by anna from the command line' })
  t.match(
    first.seen.events.find(({ type }) => type === 'unit.attached'),
    { unit: 'eye', actor: asker.actor },
  )
  await first.supervisor.abandon()

  const second = await node()
  await second.attachments.restore()
  await second.seen.pass(0)
  t.match(second.seen.status('eye'), { state: 'up', origin: 'attached by anna from the command line' })
  t.match(second.supervisor.spec('eye')?.config, { allow: { signal: true }, find: { name: 'main' } })
  await second.attachments.detach('eye', asker)
  t.match(second.seen.events.at(-1), { type: 'unit.detached', unit: 'eye', actor: asker.actor })
  t.notOk([...world.disk.keys()].some((key) => key.startsWith('attached/') || key.startsWith('pins/')))
  await throwsReason(t, 'UNIT_NOT_FOUND', () => second.attachments.detach('eye', asker))
  await throwsReason(t, 'USAGE', () => second.attachments.detach('api', asker))
  t.same(world.host.signals, [])
})

t.test('nothing is attached when there is none, or several, or the name is taken or impossible', async (t) => {
  const { world, node, settled } = await setUp(t, ['api', 'twin'])
  const { seen, attachments, supervisor } = await node()
  await seen.pass(0)
  const attach = (unit: string, find: object) => () =>
    settled(attachments.attach({ unit, find, allowSignal: false }, [], asker, never))
  t.match(await throwsReason(t, 'PROCESS_NOT_FOUND', attach('eye', { name: 'none' })), { details: { method: 'name' } })
  t.match(
    (await throwsReason(t, 'PROCESS_AMBIGUOUS', attach('eye', { name: 'main' })))?.message,
    /^2 processes match: pid/,
  )
  await throwsReason(t, 'UNIT_EXISTS', attach('api', { name: 'main' }))
  await throwsReason(t, 'USAGE', attach('No Name', { name: 'main' }))
  t.equal(supervisor.spec('eye'), undefined)
  t.notOk([...world.disk.keys()].some((key) => key.startsWith('attached/')))
})

t.test('of two that attach the same name at once, one does', async (t) => {
  const { node, settled } = await setUp(t)
  const { seen, attachments } = await node()
  await seen.pass(0)
  const attachment = { unit: 'eye', find: { name: 'main' }, allowSignal: false }
  const both = [1, 2].map(() => attachments.attach(attachment, [], asker, never))
  const results = await settled(Promise.allSettled(both))
  t.same(results.map(({ status }) => status).toSorted(), ['fulfilled', 'rejected'])
})

t.test('a record that cannot be read keeps nothing else from being restored', async (t) => {
  const { world, node, settled } = await setUp(t)
  const first = await node()
  await first.seen.pass(0)
  await settled(first.attachments.attach({ unit: 'eye', find: { name: 'main' }, allowSignal: false }, [], asker, never))
  await first.supervisor.abandon()
  world.disk.set('attached/bad.json', Buffer.from('{'))
  const second = await node()
  await second.attachments.restore()
  await second.seen.pass(0)
  t.equal(second.seen.status('eye').state, 'up')
})
