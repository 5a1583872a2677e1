import { symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { EventShape, UnitShape } from '../../src/cli/shapes.ts'
import { nodeHome, type SpawnedNode } from '../support/spawned-node.ts'
import { stranger } from '../support/stranger.ts'
import { until } from '../support/until.ts'

const onLinux = process.platform === 'linux' ? {} : { skip: 'reads /proc' }
const configOf = (units: object) => ({ version: 1, node: { name: 'n', listen: { ingress: '127.0.0.1:0' } }, units })

async function unitOf(node: SpawnedNode, unit: string): Promise<UnitShape> {
  const [row] = await node.json<UnitShape>('ps', unit)
  if (row === undefined) throw new Error(`no unit ${unit}`)
  return row
}

async function eventsOf(node: SpawnedNode, unit: string): Promise<EventShape[]> {
  const { stdout } = await node.hsu('events', unit, '-o', 'json')
  return stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as EventShape)
}

t.test(
  'a unit by name is absent, found when its process starts, and follows its successor',
  { ...onLinux, timeout: 120_000 },
  async (t) => {
    const { home, node: makeNode } = nodeHome(t)
    symlinkSync('/bin/sleep', join(home, 'late'))
    const find = { name: 'late', args: ['600'] }
    const node = makeNode('n', { config: configOf({ late: { kind: 'unmanaged', find } }) })
    await node.start()
    t.match(await unitOf(node, 'late'), {
      state: 'absent',
      pid: null,
      origin: 'configuration',
      reason: /no process is named 'late'/,
    })

    const foundAs = (pid: number) =>
      until(`${pid} to be found`, async () => (await unitOf(node, 'late')).pid === pid || undefined)
    const first = await stranger(t, [join(home, 'late'), '600'], { silent: true })
    await foundAs(first.pid)
    first.kill('SIGTERM')
    await first.ended
    const second = await stranger(t, [join(home, 'late'), '600'], { silent: true })
    await foundAs(second.pid)
    t.match(await unitOf(node, 'late'), { state: 'up', restarts: 1 })
    const history = (await eventsOf(node, 'late')).filter(({ type }) => /found|lost/.test(type))
    t.match(history, [
      { type: 'unit.found', details: { pid: String(first.pid) } },
      { type: 'unit.lost', details: { pid: String(first.pid) } },
      { type: 'unit.found', details: { pid: String(second.pid) } },
    ])
  },
)

t.test('what is not allowed is refused, and nothing is signalled', { ...onLinux, timeout: 120_000 }, async (t) => {
  const { home, node: makeNode } = nodeHome(t)
  symlinkSync('/bin/sleep', join(home, 'shy'))
  const server = await stranger(t, [join(home, 'shy'), '600'], { silent: true })
  const node = makeNode('n', { config: configOf({ shy: { kind: 'unmanaged', find: { name: 'shy', args: ['600'] } } }) })
  await node.start()
  await node.hsu('wait', 'shy', '--for', 'up')
  t.equal((await node.hsu('attach', 'also', '--pid', String(server.pid))).code, 0)
  for (const command of [
    ['signal', 'TERM', 'shy'],
    ['kill', 'shy'],
    ['signal', 'KILL', 'also'],
  ]) {
    t.match(await node.hsu(...command), { code: 1, stderr: /may not be signalled/ })
  }
  for (const command of [
    ['stop', 'shy'],
    ['restart', 'shy'],
    ['scale', 'shy=2'],
  ]) {
    t.match(await node.hsu(...command), { code: 1, stderr: /is unmanaged/ })
  }
  t.ok(server.alive)
  const told = (await eventsOf(node, 'shy')).slice(-4)
  t.same(
    told.map(({ type }) => type),
    ['unit.requested', 'unit.refused', 'unit.requested', 'unit.refused'],
  )
  t.match(told[0]?.actor, /from the command line/)
})

t.test('however the node ends, what it watched runs on', { ...onLinux, timeout: 120_000 }, async (t) => {
  const { home, node: makeNode } = nodeHome(t)
  symlinkSync('/bin/sleep', join(home, 'free'))
  const server = await stranger(t, [join(home, 'free'), '600'], { silent: true })
  const find = { name: 'free', args: ['600'] }
  const node = makeNode('n', { config: configOf({ free: { kind: 'unmanaged', find, allow: { signal: true } } }) })
  for (const end of ['SIGTERM', 'SIGKILL', 'down'] as const) {
    await node.start()
    await node.hsu('wait', 'free', '--for', 'up')
    if (end === 'down') await node.hsu('down')
    else node.signal(end)
    await node.ended()
    t.ok(server.alive, `it outlives ${end}`)
  }
})

t.test('a stale pid file attaches nothing, and nothing is signalled', { ...onLinux, timeout: 120_000 }, async (t) => {
  const { home, node: makeNode } = nodeHome(t)
  const bystander = await stranger(t, ['sleep', '600'], { silent: true })
  const file = join(home, 'old.pid')
  writeFileSync(file, `${bystander.pid}\n`)
  const anHourAgo = Date.now() / 1_000 - 3_600
  utimesSync(file, anHourAgo, anHourAgo)
  const unit = { kind: 'unmanaged', find: { pid_file: file }, allow: { signal: true } }
  const node = makeNode('n', { config: configOf({ old: unit }) })
  await node.start()
  await until('it was looked for', async () => /stale/.test((await unitOf(node, 'old')).reason) || undefined)
  t.match(await unitOf(node, 'old'), { state: 'absent', pid: null })
  t.match(await node.hsu('attach', 'new', '--pid-file', file), {
    code: 4,
    stderr: /is stale: pid \d+ belongs to a process started after/,
  })
  t.not((await node.hsu('signal', 'TERM', 'old')).code, 0)
  t.not((await node.hsu('kill', 'old')).code, 0)
  t.ok(bystander.alive)
})
