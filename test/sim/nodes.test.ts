import t from 'tap'
import { randomScript } from '../../src/sim/random-script.ts'
import { simulate, untilSettled } from '../../src/sim/simulate.ts'
import { simSetups } from '../support/sim-setups.ts'

/** `HSU_SEED=7` replays one run; `HSU_SEEDS=1000` tries that many. */
const only = process.env['HSU_SEED']
const count = Number(process.env['HSU_SEEDS'] ?? 20)
const SEEDS = only === undefined ? Array.from({ length: count }, (_, index) => index + 1) : [Number(only)]

const NODES = ['a', 'b', 'c', 'd', 'e']

const UNITS = {
  api: {
    kind: 'integrated',
    run: ['./api'],
    replicas: 2,
    ports: { grpc: 'auto' },
    services: ['shop.v1.Api'],
    depends_on: { db: { condition: 'healthy' } },
    restart: { give_up: '1000/1m' },
    stop: { grace: '1s', drain: '500ms' },
  },
  db: {
    run: ['./db'],
    ports: { pg: 5432 },
    probes: { ready: { tcp: '{port.pg}', every: '1s' } },
    restart: { policy: 'always', give_up: '1000/1m' },
    stop: { grace: '1s' },
  },
  planner: { run: ['./planner'], partition: { replace_after: '4s', order: ['c', 'a'] }, stop: { grace: '1s' } },
  ledger: { run: ['./ledger'], partition: { stop_after: '2s', replace_after: '14s' }, stop: { grace: '1s' } },
  job: { run: ['./job'], schedule: { cron: '*/10 * * * * *', scope: 'mesh' } },
}

/** How long until all is well again after the last fault: the longest waits are those before a new try. */
const CALM_MS = 90_000

function replay(seed: number): string {
  return `HSU_SEED=${seed} node scripts/run-test.mjs test/sim/nodes.test.ts`
}

/** Lets bad luck happen to five nodes; what was wrong with it, a line each. */
async function faultsOf(seed: number): Promise<{ faults: string[]; events: string[] }> {
  const events: string[] = []
  const script = randomScript({ seed, nodes: NODES, units: ['api', 'db'], troubleMs: 30_000, calmMs: 1_000, acts: 12 })
  const acts: string[] = []
  const outcome = await simulate({
    seed,
    setups: await simSetups(NODES, UNITS),
    script: { ...script, behaviours: new Map([['db', { readyAfterMs: 700 }]]) },
    onSecond: (second) => {
      acts.push(...second.acts.map(({ atMs, what }) => `${atMs}: ${what}`))
      events.push(...second.events.map(({ atMs, event }) => `${atMs} ${event.node} ${event.type} ${event.instance}`))
    },
  })
  const { breaches, world } = outcome
  const settled = await untilSettled(outcome, CALM_MS)
  const found = [...breaches, ...settled.breaches].map(({ atMs, node, what }) => `${atMs} ms: ${node}: ${what}`)
  const faults = [...found, ...settled.unsettled]
  await world.stopAll()
  if (faults.length > 0) faults.push(`seed ${seed}; replay: ${replay(seed)}`, ...acts)
  return { faults, events }
}

for (const seed of SEEDS) {
  t.test(`seed ${seed}: whatever happens to five nodes, nothing is broken, and all is well in the end`, async (t) => {
    const { faults, events } = await faultsOf(seed)
    t.same(faults, [])
    t.ok(events.length > 50)
  })
}

t.test('the same seed gives the same run, event by event', async (t) => {
  const seed = SEEDS[0] ?? 1
  const [one, other] = [await faultsOf(seed), await faultsOf(seed)]
  t.same(one.events, other.events)
})
