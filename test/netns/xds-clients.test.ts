import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { FULL_NAMES } from '../../src/rpc/xds/fields.ts'
import { aloneConfig, ECHO_UNIT } from '../support/node-configs.ts'
import { fixture } from '../support/paths.ts'
import { nodeHome, type SpawnedNode } from '../support/spawned-node.ts'
import { until } from '../support/until.ts'
import { callOnce, foreignClients, npmMissing, type Load, NPM_CACHE, startLoad } from '../support/xds-clients.ts'

const SERVICE = 'echo.v1.EchoService'
const METHOD = `/${SERVICE}/Echo`
/** Calls a second of each client; all share two cores with the units. */
const RATE = 50

const { clients, missing } = foreignClients()
for (const why of missing) t.test(`without a client: ${why}`, { skip: why }, async () => undefined)

const environmentOf = (node: SpawnedNode) => ({ GRPC_XDS_BOOTSTRAP: join(node.directory, 'run', 'xds.json') })

interface Row {
  readonly instance: string
  readonly ready: boolean
}

/** The instances of a unit once all are ready, so many of them and none of `before`. */
async function ready(node: SpawnedNode, unit: string, count = 1, before: readonly string[] = []): Promise<string[]> {
  return until(`${count} ready of ${unit}`, async () => {
    const rows = await node.json<Row>('ps', unit)
    const names = rows.filter((row) => row.ready).map(({ instance }) => instance)
    return names.length === count && rows.length === count && !names.some((name) => before.includes(name)) && names
  })
}

class Loads {
  readonly #loads: readonly Load[]

  constructor(t: Test, node: SpawnedNode) {
    const options = { rate: RATE, env: environmentOf(node) }
    this.#loads = clients.map((client) => startLoad(t, client, SERVICE, METHOD, options))
  }

  async reach(instances?: readonly string[]): Promise<void> {
    for (const load of this.#loads) await load.reaches(instances)
  }

  async none(t: Test): Promise<void> {
    let calls = 0
    for (const load of this.#loads) {
      const { answers, errors } = await load.stop()
      const answered = Object.values(answers).reduce((sum, count) => sum + count, 0)
      t.same(errors, {}, `${load.name}: no call of ${answered} failed`)
      calls += answered
    }
    t.comment(`${calls} calls`)
  }
}

t.test('calls of stock clients go straight to units, and none fails', { skip: clients.length === 0 }, async (t) => {
  const { node } = nodeHome(t)
  const edge = node('edge', { config: aloneConfig('edge', { echo: { ...ECHO_UNIT, replicas: 2 }, other: ECHO_UNIT }) })
  await edge.start()
  const echo = await ready(edge, 'echo', 2)
  const other = await ready(edge, 'other')

  await t.test('while units are restarted, scaled up and scaled down', async (t) => {
    const loads = new Loads(t, edge)
    await loads.reach([...echo, ...other])
    for (let round = 0; round < 3; round += 1) {
      for (const [unit, before] of [
        ['echo', echo],
        ['other', other],
      ] as const) {
        t.equal((await edge.hsu('restart', unit)).code, 0)
        const after = await ready(edge, unit, before.length, before)
        await loads.reach(after)
        before.splice(0, before.length, ...after)
      }
    }
    t.equal((await edge.hsu('scale', 'echo=4')).code, 0)
    await loads.reach(await ready(edge, 'echo', 4))
    t.equal((await edge.hsu('scale', 'echo=1')).code, 0)
    await ready(edge, 'echo', 1)
    t.equal((await edge.hsu('stop', 'other')).code, 0)
    await loads.none(t)
  })

  await t.test('while the node is replaced, and killed and started again', async (t) => {
    const loads = new Loads(t, edge)
    await loads.reach()
    await edge.kill()
    await edge.start()
    await ready(edge, 'echo')
    t.equal((await edge.hsu('start', 'other')).code, 0)
    await loads.reach(await ready(edge, 'other'))
    t.equal((await edge.hsu('upgrade')).code, 0)
    t.equal((await edge.hsu('scale', 'echo=2')).code, 0)
    await loads.reach(await ready(edge, 'echo', 2))
    await loads.none(t)
  })

  await t.test('names that nobody knows fail at once and say why', async (t) => {
    for (const client of clients) {
      const { code, message, ms } = await callOnce(t, client, 'no.such.Service', environmentOf(edge))
      t.match(message, /no unit offers 'no\.such\.Service'; known: .*echo\.v1\.EchoService/, client.name)
      t.match(code.toUpperCase(), /UNIMPLEMENTED/, client.name)
      t.ok(ms < 10_000, `${client.name}: in ${ms} ms, and not at its deadline of 20 s`)
    }
  })
})

const protosMissing = npmMissing() ?? false
t.test('our table of fields is that of the real protos', { skip: protosMissing }, async (t) => {
  const names = [...new Set(Object.values(FULL_NAMES))]
  const told = execFileSync(process.execPath, [fixture('xds-protos.mjs'), NPM_CACHE, ...names], { maxBuffer: 64e6 })
  const real = JSON.parse(told.toString()) as Record<string, Record<string, unknown>>
  const kept = JSON.parse(readFileSync(fixture('xds-fields.json'), 'utf8')) as typeof real
  for (const [message, fields] of Object.entries(kept)) {
    for (const [field, facts] of Object.entries(fields)) t.same(real[message]?.[field], facts, `${message}.${field}`)
  }
})
