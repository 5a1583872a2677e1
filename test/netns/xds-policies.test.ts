import t, { type Test } from 'tap'
import { SERVICE } from '../support/literal-world.ts'
import { until } from '../support/until.ts'
import { callOnce, type ForeignClient, foreignClients, startLoad } from '../support/xds-clients.ts'
import { answersByName, type Behaviour, xdsSite } from '../support/xds-site.ts'

const METHOD = `/${SERVICE}/Get`
const [ONE, TWO, THREE] = ['echo-0-aaaaaa', 'echo-1-bbbbbb', 'echo-2-cccccc'] as const

const { clients: all, missing } = foreignClients()
for (const why of missing) t.test(`without a client: ${why}`, { skip: why }, async () => undefined)

/** Those that read routes and clusters. */
const clients = all.filter(({ scheme }) => scheme === 'xds')

const endsWith =
  (status: string): Behaviour =>
  (stream) => {
    stream.resume()
    const fields = { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': status }
    stream.on('end', () => stream.respond(fields, { endStream: true }))
  }

const UNAVAILABLE = endsWith('14')
const INTERNAL = endsWith('13')

const sum = (counts: Readonly<Record<string, number>>): number =>
  Object.values(counts).reduce((total, count) => total + count, 0)

/** A test for each client. */
function withEach(name: string, body: (t: Test, client: ForeignClient) => Promise<void>): void {
  t.test(name, { skip: clients.length === 0 }, async (t) => {
    for (const client of clients) await t.test(client.name, (t) => body(t, client))
  })
}

withEach('an idempotent call is sent again, another one is not', async (t, client) => {
  const route = { policy: 'round-robin', methods: { [`${SERVICE}/Get`]: { idempotent: true, retries: 4 } } }
  const instances = [
    { instance: ONE, behave: UNAVAILABLE },
    { instance: TWO, behave: answersByName },
  ]
  const site = await xdsSite(t, instances, { echo: route })
  const load = startLoad(t, client, SERVICE, METHOD, { rate: 100, env: site.env })
  await until('calls to both', () => site.seen(ONE) > 50 && site.seen(TWO) > 100)
  const { answers, errors } = await load.stop()
  t.same(Object.keys(answers), [TWO])
  t.ok(
    sum(errors) < site.seen(TWO) * 0.2,
    `${sum(errors)} failed: five times in a row to the one, and not every other call`,
  )
  const before = site.seen(ONE)
  const other = startLoad(t, client, SERVICE, `/${SERVICE}/Put`, { rate: 100, env: site.env })
  await until('calls to the one', () => site.seen(ONE) > before + 10)
  t.equal(sum((await other.stop()).errors), site.seen(ONE) - before, 'each that it saw came back as it was')
})

withEach('a call without an answer ends with the timeout of its route', async (t, client) => {
  // C-core is told of no timeouts: see src/rpc/xds/client-features.ts.
  if (client.name === 'python') return
  const site = await xdsSite(t, [{ instance: ONE, behave: (stream) => stream.resume() }], { echo: { timeout: '2s' } })
  const { code, ms } = await callOnce(t, client, SERVICE, site.env)
  t.match(code.replaceAll('_', '').toUpperCase(), /DEADLINEEXCEEDED/)
  t.ok(ms > 1_900 && ms < 15_000, `${ms} ms: not before, and not at the 20 s of the caller`)
})

withEach('who answers badly is left out', async (t, client) => {
  const route = { policy: 'round-robin', ejection: { failures: 3, time: '5m..5m' } }
  const instances = [
    { instance: ONE, behave: INTERNAL },
    { instance: TWO, behave: answersByName },
  ]
  const site = await xdsSite(t, instances, { echo: route })
  const load = startLoad(t, client, SERVICE, METHOD, { rate: 50, env: site.env })
  await until('many more calls to the other', () => site.seen(TWO) > site.seen(ONE) + 150)
  const { errors } = await load.stop()
  t.equal(sum(errors), site.seen(ONE))
})

withEach('no more is under way than the unit takes', async (t, client) => {
  let most = 0
  const held: (() => void)[] = []
  const state = { holds: false, isOver: false }
  const behave: Behaviour = (stream, instance) => {
    if (!state.holds) {
      answersByName(stream, instance)
      return
    }
    stream.resume()
    held.push(() => answersByName(stream, instance))
    most = Math.max(most, held.length)
  }
  const instances = [
    { instance: ONE, behave },
    { instance: 'pace-0-dddddd', unit: 'pace', behave: answersByName },
  ]
  const site = await xdsSite(t, instances, { echo: { limits: { concurrency: 3 } } })
  const pace = startLoad(t, client, 'pace', METHOD, { rate: 50, env: site.env })
  const load = startLoad(t, client, 'echo', METHOD, { rate: 50, env: site.env })
  await Promise.all([pace.reaches(), load.reaches()])
  state.holds = true
  await until('as many as there may be', () => held.length >= 3)
  const before = site.seen('pace-0-dddddd')
  await until('time for more', () => site.seen('pace-0-dddddd') > before + 50)
  const stopped = load.stop().finally(() => (state.isOver = true))
  while (!state.isOver) {
    for (const answer of held.splice(0)) answer()
    await until('more to answer, or the end', () => held.length > 0 || state.isOver)
  }
  const { errors } = await stopped
  await pace.stop()
  // grpc-js counts a call when it starts and not when it is picked: those that waited for the first connection pass together.
  t.ok(client.name === 'node' ? most < 20 : most === 3, `${most} at most`)
  const refused = Object.entries(errors).filter(([error]) => /^UNAVAILABLE/i.test(error))
  t.ok(sum(Object.fromEntries(refused)) > 20, Object.keys(errors).join())
})

t.test('equal metadata goes to one instance, whatever the language', { skip: clients.length === 0 }, async (t) => {
  const instances = [ONE, TWO, THREE].map((instance) => ({ instance, behave: answersByName }))
  const site = await xdsSite(t, instances, { echo: { policy: 'consistent-hash', hash_on: 'x-user' } })
  const chosen = new Set<string>()
  for (const user of ['ada', 'bob', 'cy', 'dee', 'eve', 'flo', 'gus', 'hal']) {
    const places = new Set<string>()
    const loads = clients.map((client) =>
      startLoad(t, client, SERVICE, METHOD, { rate: 50, env: site.env, metadata: [`x-user=${user}`] }),
    )
    for (const load of loads) await load.reaches()
    for (const load of loads) {
      const { answers, errors } = await load.stop()
      t.same(errors, {}, load.name)
      for (const place of Object.keys(answers)) places.add(place)
    }
    t.equal(places.size, 1, `${user}: ${[...places].join(' ')}`)
    for (const place of places) chosen.add(place)
  }
  t.ok(chosen.size > 1, 'and others elsewhere')
})

const CANARY = { share: 1_000, headers: { 'x-canary': '1' } }
const NEXT = 'echo-next-0-bbbbbb'

withEach('a canary gets its share, and calls that ask for it', async (t, client) => {
  const instances = [
    { instance: ONE, behave: answersByName },
    { instance: NEXT, unit: 'echo-next', canary: CANARY, behave: answersByName },
  ]
  const site = await xdsSite(t, instances, {})
  const load = startLoad(t, client, SERVICE, METHOD, { rate: 250, env: site.env })
  await until('1,000 calls', () => site.seen(ONE) + site.seen(NEXT) >= 1_000)
  t.same((await load.stop()).errors, {})
  // Binomial, n = 1,000, p = 0.1; clients have no seed, so six standard deviations.
  t.ok(Math.abs(site.seen(NEXT) - 100) < 60, `${site.seen(NEXT)} of ${site.seen(ONE) + site.seen(NEXT)}`)
  const asking = startLoad(t, client, SERVICE, METHOD, { rate: 100, env: site.env, metadata: ['x-canary=1'] })
  await asking.reaches([NEXT])
  const before = site.seen(ONE)
  const { answers, errors } = await asking.stop()
  t.same([errors, Object.keys(answers), site.seen(ONE)], [{}, [NEXT], before])
})

// What is left of connections whose clients have ended can keep this process busy for good (Node 20: libuv turns without a call of ours).
t.teardown(() => process.exit())
