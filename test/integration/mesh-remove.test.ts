import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { createMeshKey } from '../../src/node/mesh-key.ts'
import { ECHO_UNIT, meshConfig } from '../support/node-configs.ts'
import { nodeHome, type SpawnedNode } from '../support/spawned-node.ts'
import { until } from '../support/until.ts'

interface NodeRow {
  readonly node: string
  readonly status: string
}

const seenBy = async (node: SpawnedNode): Promise<string> =>
  (await node.json<NodeRow>('nodes'))
    .map(({ node: name, status }) => `${name} ${status}`)
    .toSorted()
    .join()

t.test('a removed node is kept out by all, over restarts, until it is restored', { timeout: 120_000 }, async (t) => {
  const { home, node } = nodeHome(t)
  const keyFile = join(home, 'mesh.key')
  writeFileSync(keyFile, createMeshKey(), { mode: 0o600 })
  const [a, b, c] = ['a', 'b', 'c'].map((name) =>
    node(name, { config: meshConfig(name, keyFile, name === 'c' ? { echo: ECHO_UNIT } : {}) }),
  ) as [SpawnedNode, SpawnedNode, SpawnedNode]
  await Promise.all([a.start(), b.start(), c.start()])
  const all = 'a alive,b alive,c alive'
  for (const each of [a, b, c]) await until('all to be there', async () => (await seenBy(each)) === all)
  await until('a call to reach c', async () => (await call(a)).code === 0)

  const removed = await a.hsu('mesh', 'remove', 'c')
  t.equal(removed.code, 0, removed.stderr)
  t.match(removed.stdout, /c is removed .*hsu mesh key rotate/)
  const without = 'a alive,b alive,c removed'
  for (const each of [a, b]) await until('c to be out', async () => (await seenBy(each)) === without)
  t.not((await call(a)).code, 0, 'its units are reached no more')
  t.not((await a.hsu('ps', '--node', 'c')).code, 0)
  t.not((await c.hsu('ps', '--node', 'a')).code, 0, 'and its calls are refused')
  await until('c to know', async () => (await c.hsu('nodes')).stdout.includes('removed'))
  t.match((await b.hsu('events', '-n', '50')).stdout, /member\.removed/)

  await Promise.all([a.kill(), b.kill()])
  await Promise.all([a.start(), b.start()])
  for (const each of [a, b]) await until('the two to meet', async () => (await seenBy(each)) === without)
  await until('c to have tried', () => /was removed from the mesh tries to connect/.test(a.log + b.log))
  t.equal(await seenBy(a), without)

  t.equal((await b.hsu('mesh', 'restore', 'c')).code, 0)
  for (const each of [a, b, c]) await until('all to be there again', async () => (await seenBy(each)) === all)
  await until('a call to reach c again', async () => (await call(a)).code === 0)
  for (const each of [a, b, c]) await each.hsu('down')
})

t.test('what cannot be removed or restored is said', { timeout: 60_000 }, async (t) => {
  const { home, node } = nodeHome(t)
  const keyFile = join(home, 'mesh.key')
  writeFileSync(keyFile, createMeshKey(), { mode: 0o600 })
  const one = node('one', { config: meshConfig('one', keyFile) })
  const alone = node('alone', { config: { version: 1, node: { name: 'alone' } } })
  await Promise.all([one.start(), alone.start()])
  await until('it to be in its mesh', async () => (await one.hsu('mesh', 'restore', 'one')).code === 4)
  t.match(await one.hsu('mesh', 'remove', 'one'), { code: 2, stderr: /cannot remove itself/ })
  t.match(await one.hsu('mesh', 'remove', 'nobody'), { code: 4, stderr: /no node 'nobody'/ })
  t.match(await alone.hsu('mesh', 'remove', 'one'), { code: 3, stderr: /has no mesh|no node/ })
  await Promise.all([one.hsu('down'), alone.hsu('down')])
})

function call(from: SpawnedNode): ReturnType<SpawnedNode['hsu']> {
  return from.hsu('call', 'echo.v1.EchoService/Echo', '{"message":"hi"}')
}
