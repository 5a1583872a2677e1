import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { createMeshKey, meshKeyFingerprints } from '../../src/node/mesh-key.ts'
import { ECHO_UNIT, meshConfig } from '../support/node-configs.ts'
import { nodeHome, type SpawnedNode } from '../support/spawned-node.ts'
import { until } from '../support/until.ts'

interface Keys {
  readonly keys: readonly { readonly fingerprint: string; readonly until: string | null }[]
  readonly holders: readonly string[]
  readonly others: readonly string[]
}

const keysOf = async (node: SpawnedNode): Promise<Keys> =>
  JSON.parse((await node.hsu('mesh', 'key', '-o', 'json')).stdout) as Keys

t.test(
  'a key is replaced while calls go on, none is lost, and the old key is then refused',
  { timeout: 180_000 },
  async (t) => {
    const { home, node } = nodeHome(t)
    const old = createMeshKey()
    const [a, b, c] = ['a', 'b', 'c'].map((name) => {
      const keyFile = join(home, `${name}.key`)
      writeFileSync(keyFile, old, { mode: 0o600 })
      return node(name, { config: meshConfig(name, keyFile, name === 'c' ? { echo: ECHO_UNIT } : {}) })
    }) as [SpawnedNode, SpawnedNode, SpawnedNode]
    await Promise.all([a.start(), b.start(), c.start()])
    await until('all to be there', async () => (await a.json<object>('nodes')).length === 3)
    await until('a call to reach c', async () => (await call(a)).code === 0)

    const rotated = await b.hsu('mesh', 'key', 'rotate', '--overlap', '15s')
    t.equal(rotated.code, 0, rotated.stderr)
    const failed: string[] = []
    const newest = (await keysOf(b)).keys[0]?.fingerprint ?? ''
    const done = async (): Promise<boolean> => {
      const { code, stderr } = await call(a)
      if (code !== 0) failed.push(stderr)
      const all = await Promise.all([a, b, c].map(keysOf))
      return all.every(({ keys }) => keys.length === 1 && keys[0]?.fingerprint === newest)
    }
    await until('the old key to be over everywhere', done, 60_000)
    t.same(failed, [], 'no call failed')
    for (const each of [a, b, c]) {
      t.notMatch((await each.hsu('events', '-n', '100')).stdout, /mesh\.refused/)
      t.notOk(readFileSync(join(each.directory, 'test-node.log'), 'utf8').includes(old.trim().split(':')[1] ?? 'x'))
    }
    await until('a to see the others hold it', async () => (await keysOf(a)).holders.toSorted().join() === 'b,c')
    const content = readFileSync(join(home, 'a.key'), 'utf8')
    t.same(meshKeyFingerprints(content, 'a.key'), [newest], 'and the key file has the new key alone')
    t.equal(statSync(join(home, 'a.key')).mode & 0o777, 0o600)

    const lateFile = join(home, 'late.key')
    writeFileSync(lateFile, old, { mode: 0o600 })
    const late = node('late', { config: meshConfig('late', lateFile) })
    await late.start()
    await until('it to be refused', () => /another mesh key/.test(late.log))
    t.equal((await late.json<object>('nodes')).length, 1)

    await a.kill()
    await a.start()
    await until('a to be back with what it kept', async () => (await call(a)).code === 0)
    for (const each of [a, b, c, late]) await each.hsu('down')
  },
)

function call(from: SpawnedNode): ReturnType<SpawnedNode['hsu']> {
  return from.hsu('call', 'echo.v1.EchoService/Echo', '{"message":"hi"}')
}
