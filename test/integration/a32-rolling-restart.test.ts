import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createMeshKey } from '../../src/node/mesh-key.ts'
import { EchoLoad } from '../support/echo-load.ts'
import { eventsOf } from '../support/event-rows.ts'
import { ECHO_UNIT, meshConfig } from '../support/node-configs.ts'
import { nodeHome, type SpawnedNode } from '../support/spawned-node.ts'
import { until } from '../support/until.ts'

const SERVICE = 'echo.v1.EchoService'
/** Calls that are made before and after each step, so that it falls into the load. */
const CALLS_AROUND = 100
/** Between two calls of a caller, so that the programs of the test get their share of the processor. */
const REST_MS = 5

const addressOf = (node: SpawnedNode): string => /ingress (127\.0\.0\.1:\d+)/.exec(node.log)?.[1] ?? ''

async function serving(by: SpawnedNode): Promise<readonly string[]> {
  const services = await by.json<{ service: string; endpoints: { instance: string; ready: boolean }[] }>('services')
  const echo = services.find(({ service }) => service === SERVICE)
  return (echo?.endpoints ?? []).filter(({ ready }) => ready).map(({ instance }) => instance)
}

async function untilServing(nodes: readonly SpawnedNode[], count: number): Promise<void> {
  for (const node of nodes) await until(`${count} to serve`, async () => (await serving(node)).length === count)
}

async function must(node: SpawnedNode, ...args: string[]): Promise<void> {
  const { code, stderr } = await node.hsu(...args)
  if (code !== 0) throw new Error(`hsu ${args.join(' ')} ended with ${code}: ${stderr}`)
}

/** Three nodes: `a` takes calls, `b` has three replicas of echo, `c` one. */
async function three(t: Test) {
  const { home, node } = nodeHome(t)
  const keyFile = join(home, 'mesh.key')
  writeFileSync(keyFile, createMeshKey(), { mode: 0o600 })
  const echoes = (replicas: number, env: object = {}): object => ({ echo: { ...ECHO_UNIT, replicas, env } })
  const a = node('a', { config: meshConfig('a', keyFile) })
  const b = node('b', { config: meshConfig('b', keyFile, echoes(3)) })
  const c = node('c', { config: meshConfig('c', keyFile, echoes(1)) })
  await Promise.all([a.start(), b.start(), c.start()])
  await untilServing([a, b, c], 4)
  // With one of another node left, a restart of all at once would fail no call either.
  await must(c, 'stop', 'echo@c')
  await untilServing([a, b, c], 3)
  const reconfigure = (env: object): void => b.configure(meshConfig('b', keyFile, echoes(3, env)))
  return { a, b, c, reconfigure }
}

t.test(
  'A32: restart, scale, stop, reload, upgrade and the end of a node fail no call',
  { timeout: 400_000 },
  async (t) => {
    const { a, b, c, reconfigure } = await three(t)
    const loads = [a, b].map((node) => new EchoLoad(addressOf(node), 2, { restMs: REST_MS }))
    const calls = (): number => loads.reduce((sum, load) => sum + load.calls, 0)
    const failures = (): string[] => loads.flatMap((load) => [...load.failures])
    const someCalls = async (): Promise<void> => {
      const from = calls()
      await until('some calls', () => calls() >= from + CALLS_AROUND)
    }
    const step = (what: string, act: (t: Test) => Promise<void>) =>
      t.test(what, async (t) => {
        const before = failures().length
        await someCalls()
        await act(t)
        await someCalls()
        t.same(failures().slice(before), [])
      })

    // All of b, with nobody else: whatever is done to all of them at once fails calls.
    await step('restart of several replicas, in turn', async (t) => {
      const before = await serving(a)
      await must(a, 'restart', 'echo@b')
      await untilServing([a, b], 3)
      t.notOk((await serving(a)).some((instance) => before.includes(instance)))
      const events = await eventsOf(b, '--type', 'unit.rolling', '-n', '10')
      t.same(
        events.map(({ reason }) => reason),
        [1, 2, 3].map((turn) => `restart, turn ${turn} of 3: replica ${turn - 1}`),
      )
      const why = await b.hsu('why', 'echo@b')
      t.match(why.stdout, /turn 3 of 3/)
      t.match(why.stdout, /restart asked for by/)
    })

    await step('a changed configuration', async (t) => {
      const before = await serving(a)
      reconfigure({ VERSION: '2' })
      await must(b, 'reload')
      await until('all of b to be others', async () => {
        const now = await serving(a)
        return now.length === 3 && !now.some((instance) => before.includes(instance))
      })
      const last = (await eventsOf(b, '--type', 'unit.rolling')).at(-1)
      t.match(last?.reason, /its configuration changed, turn 3 of 3/)
    })

    await step('scale down and up', async () => {
      await must(a, 'scale', 'echo@b=1')
      await untilServing([a, b], 1)
      await someCalls()
      await must(a, 'scale', 'echo@b=3')
      await untilServing([a, b], 3)
    })

    await step('upgrade of the node', () => must(b, 'upgrade'))

    await step('stop of one of several, and of a whole node', async (t) => {
      await must(a, 'start', 'echo@c')
      await untilServing([a, b], 4)
      await must(a, 'stop', 'echo@c')
      await untilServing([a, b], 3)
      await must(a, 'start', 'echo@c')
      await untilServing([a, b], 4)
      await someCalls()
      await must(c, 'down')
      t.equal(await c.ended(), 0)
      await untilServing([a, b], 3)
    })

    const reports = await Promise.all(loads.map((load) => load.end()))
    const longestMs = Math.max(...reports.map((report) => report.longestMs))
    t.comment(`${calls()} calls, the longest took ${longestMs.toFixed(0)} ms`)
    t.same(failures(), [])
  },
)
