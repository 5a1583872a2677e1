import t from 'tap'
import type { InstanceStatus } from '../../../src/process/status.ts'
import type { Usage } from '../../../src/process/usage.ts'
import { createUsageHistory, KEPT_MS, STEP_MS } from '../../../src/process/usage-history.ts'

const READING_MS = 2_000

/** A history that is fed a reading each 2 s, at wall clock = time since the start. */
function recorded() {
  const history = createUsageHistory()
  let nowMs = 0
  return {
    history,
    read: (...usages: ({ unit?: string; instance?: string } & Partial<Usage>)[]): void => {
      nowMs += READING_MS
      const statuses = usages.map(({ unit = 'api', instance = `${unit}-0-a`, ...usage }) => {
        const full: Usage = { cpu: 0, cpuMs: 0, rssBytes: 0, processes: 1, ...usage }
        return { unit, instance, replica: 0, usage: full } as InstanceStatus
      })
      history.note(statuses, { wallMs: nowMs, nowMs })
    },
    samples: (sinceMs?: number) => history.query({ units: ['api'], sinceMs })[0]?.samples ?? [],
  }
}

t.test('the history of usage', async (t) => {
  t.test('is a sample a step: CPU on average, sizes at their largest, counters as they stand', async (t) => {
    const { read, samples } = recorded()
    read({ cpu: 0.5, cpuMs: 1_000, rssBytes: 10, ioReadBytes: 5 })
    t.same(samples(), [
      {
        wallMs: 2_000,
        instance: 'api-0-a',
        usage: { cpu: 0.5, cpuMs: 1_000, rssBytes: 10, processes: 1, ioReadBytes: 5 },
      },
    ])
    read({ cpu: 1, cpuMs: 3_000, rssBytes: 900, processes: 7, ioReadBytes: 6 })
    for (const cpuMs of [3_000, 3_000, 3_000]) read({ cpu: 0, cpuMs, rssBytes: 20, ioReadBytes: 7 })
    t.equal(samples().length, 1)
    read({ cpu: 0, cpuMs: 3_000, rssBytes: 20, ioReadBytes: 8 })
    t.match(samples()[1], {
      wallMs: 12_000,
      usage: { cpu: Math.fround(0.2), cpuMs: 3_000, rssBytes: 900, processes: 7, ioReadBytes: 8 },
    })
  })

  t.test('what the system did not tell stays absent', async (t) => {
    const { read, samples } = recorded()
    read({ threads: 3 })
    t.same(Object.keys(samples()[0]?.usage ?? {}).sort(), ['cpu', 'cpuMs', 'processes', 'rssBytes', 'threads'])
  })

  t.test('a new instance of a slot goes on in its history, with a rate of its own', async (t) => {
    const { read, samples } = recorded()
    read({ cpuMs: 50_000 })
    for (let n = 0; n < 5; n += 1) read({ instance: 'api-0-b', cpu: 0.25, cpuMs: 500 })
    t.same(
      samples().map(({ instance, usage }) => [instance, usage.cpu]),
      [
        ['api-0-a', 0],
        ['api-0-b', 0.25],
      ],
    )
  })

  t.test('an instance that restarts all the time fills no more than its share', async (t) => {
    const { read, samples } = recorded()
    for (let n = 0; n < 100; n += 1) read({ instance: `api-0-${n}` })
    t.equal(samples().length, 20)
  })

  t.test('reaches back an hour and no further than its blocks', async (t) => {
    const { read, samples } = recorded()
    const hours = 3
    for (let n = 0; n < (hours * KEPT_MS) / READING_MS; n += 1) read({ cpuMs: n })
    const kept = samples()
    const [first, last] = [kept[0]?.wallMs ?? 0, kept.at(-1)?.wallMs ?? 0]
    t.ok(last - first >= KEPT_MS - STEP_MS, `${last - first} ms`)
    t.ok(kept.length <= 420, `${kept.length} samples`)
    t.same(
      samples(last - 60_000).map(({ wallMs }) => last - wallMs),
      [60_000, 50_000, 40_000, 30_000, 20_000, 10_000, 0],
    )
  })

  t.test('what is gone for an hour is forgotten', async (t) => {
    const { history, read } = recorded()
    read({ unit: 'old' }, {}, { unit: 'later' })
    t.equal(history.query({ units: [], sinceMs: undefined }).length, 3)
    for (let n = 0; n <= (KEPT_MS + STEP_MS) / READING_MS; n += 1) read({})
    t.same(
      history.query({ units: [], sinceMs: undefined }).map(({ unit }) => unit),
      ['api'],
    )
  })
})
