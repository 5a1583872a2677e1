import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { HsuError } from '../../../src/base/error.ts'
import { UnitKind } from '../../../src/rpc/gen/hsu/control/v1/control_pb.ts'
import { hsu, unit, unitsOf } from './fake-world.ts'

const found = (pid: number, more: object = {}) => ({
  pid,
  startTime: `${pid}0`,
  bootId: 'boot',
  startedAt: { seconds: 1n, nanos: 0 },
  user: 'svc',
  args: ['/usr/bin/app', '-c', 'a\u001b[2Jb'],
  cpu: 0.5,
  rssBytes: 1_048_576n,
  treeRssBytes: 2_097_152n,
  processes: 3,
  listens: [{ protocol: 'tcp', address: '::', port: 80 }],
  ...more,
})

t.test('hsu find', async (t) => {
  const client = { findProcess: async () => ({ method: 'name', processes: [found(10)] }) }

  t.test('shows what would be attached, and controls no terminal', async (t) => {
    const { code, stdout, asked } = await hsu('find --name app --arg -c --arg x', { client })
    t.equal(code, 0)
    t.match(
      stdout,
      /PID +USER +STARTED +CPU +RSS +TREE +LISTENS +ARGS\n +10 +svc .* 0\.50 +1\.0MiB +2\.0MiB \(3\) +tcp\/\[::\]:80 +\/usr\/bin\/app/,
    )
    t.notMatch(stdout, /\u001b/)
    t.match(asked[0]?.request, { find: { way: { case: 'name', value: 'app' }, args: ['-c', 'x'] }, exceptPids: [77] })
  })
  t.test('as JSON too', async (t) => {
    const { stdout } = await hsu('find --port tcp/80 -o json', { client })
    t.match(JSON.parse(stdout), [
      {
        pid: 10,
        identity: '10 100 boot',
        user: 'svc',
        rssBytes: 1_048_576,
        treeRssBytes: 2_097_152,
        listens: [{ port: 80 }],
      },
    ])
  })
  t.test('several are shown, and it fails', async (t) => {
    const several = { findProcess: async () => ({ method: 'name', processes: [found(10), found(11)] }) }
    const { code, stdout, stderr } = await hsu('find --name app -o json', { client: several })
    t.equal(code, 1)
    t.equal((JSON.parse(stdout) as unknown[]).length, 2)
    t.match(stderr, /2 processes match by name/)
  })
  t.test('none is exit code 4', async (t) => {
    const none = {
      findProcess: () => Promise.reject(new HsuError('PROCESS_NOT_FOUND', 'no process found by pid: none')),
    }
    t.equal((await hsu('find --pid 9', { client: none })).code, 4)
  })
  t.test('takes exactly one way', async (t) => {
    for (const line of ['find', 'find --pid 1 --name a', 'find --pid x'])
      t.equal((await hsu(line, { client })).code, 2, line)
  })
  t.test('the pid of the command means nothing on another host', async (t) => {
    const { asked } = await hsu('find --name app --node edge-b', { client })
    t.match(asked[0], { request: { exceptPids: [] }, options: { metadata: { 'hsu-node': 'edge-b' } } })
  })
})

t.test('hsu attach asks the node, and shows what it now watches', async (t) => {
  const instances = [
    unit({ unit: 'pg', instance: 'pg-0-10', kind: UnitKind.UNMANAGED, pid: 10, origin: 'attached by anna' }),
  ]
  const client = { attachUnit: async () => ({ instances }) }
  const { code, stdout, asked } = await hsu('attach pg --pid-file run/pg.pid --allow-signal', { client })
  t.equal(code, 0)
  t.equal(stdout, 'pg-0-10@edge-a is up, pid 10\n')
  t.match(asked[0]?.request, {
    unit: 'pg',
    find: { way: { case: 'pidFile', value: '/work/run/pg.pid' } },
    allowSignal: true,
    exceptPids: [77],
  })
  t.match(asked[0]?.options.metadata, { 'hsu-actor': /.+/ })
  t.equal((await hsu('attach pg', { client })).code, 2)
})

t.test('hsu detach names what it detached', async (t) => {
  const client = { detachUnit: async () => ({}), listUnits: unitsOf('edge-a', [unit({ unit: 'pg' })]) }
  const { code, stdout, asked } = await hsu('detach pg', { client })
  t.equal(code, 0)
  t.equal(stdout, 'pg is detached\n')
  t.match(asked.at(-1), { method: 'detachUnit', request: { unit: 'pg' } })
})

t.test('hsu adopt writes a private file, once, and passes notes on', async (t) => {
  const client = {
    adoptUnit: async () => ({ yaml: 'version: 1\n', notes: ['end process 10'] }),
    listUnits: unitsOf('edge-a', [unit({ unit: 'pg' })]),
  }
  const cwd = t.testdir({})
  const shown = await hsu('adopt pg', { client })
  t.match(shown, { code: 0, stdout: 'version: 1\n', stderr: 'note: end process 10\n' })
  t.equal((await hsu('adopt pg --out pg.yaml', { client, world: { cwd } })).code, 0)
  t.equal(readFileSync(join(cwd, 'pg.yaml'), 'utf8'), 'version: 1\n')
  t.equal(statSync(join(cwd, 'pg.yaml')).mode & 0o777, 0o600)
  const again = await hsu('adopt pg --out pg.yaml', { client, world: { cwd } })
  t.match(again, { code: 2, stderr: /there is such a file already/ })
})

t.test('ps and describe tell where an unmanaged unit comes from, and how its checks are', async (t) => {
  const checks = [{ check: 'page', state: 'degraded', failures: 2, failAfter: 3, good: 5, bad: 2, message: 'HTTP 503' }]
  const eye = unit({
    unit: 'eye',
    kind: UnitKind.UNMANAGED,
    origin: 'attached by anna',
    health: { state: 'degraded', checks },
  })
  const listUnits = unitsOf('edge-a', [eye])
  const describeUnit = async () => ({ instances: [eye], configJson: '{}', events: [] })
  t.match((await hsu('ps', { client: { listUnits } })).stdout, /attached/)
  t.match(JSON.parse((await hsu('ps -o json', { client: { listUnits } })).stdout), [
    { origin: 'attached by anna', health: { state: 'degraded', checks: [{ check: 'page', message: 'HTTP 503' }] } },
  ])
  const { stdout } = await hsu('describe eye', { client: { listUnits, describeUnit } })
  t.match(stdout, /origin\n +attached by anna/)
  t.match(stdout, /page +degraded +2\/3 +5 +2 +HTTP 503/)
})
