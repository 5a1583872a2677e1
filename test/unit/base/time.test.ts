import fc from 'fast-check'
import t from 'tap'
import { backoffMs } from '../../../src/base/backoff.ts'
import { every } from '../../../src/base/every.ts'
import { formatDurationMs, formatSizeBytes, parseDurationMs, parseSizeBytes } from '../../../src/base/quantity.ts'
import { systemClock } from '../../../src/base/system-clock.ts'
import { parseRfc3339Ms, toLocalTime, toRfc3339 } from '../../../src/base/system-date.ts'
import { clockContract } from '../../contract/clock.ts'
import { seeded } from '../../../src/sim/seeded.ts'
import { SimClock } from '../../../src/sim/sim-clock.ts'

t.test('the system clock keeps the contract', (t) =>
  clockContract(t, () => ({ clock: systemClock, pass: (ms) => systemClock.sleep(ms) })),
)

t.test('the simulated clock keeps the contract', (t) =>
  clockContract(t, () => {
    const clock = new SimClock()
    return { clock, pass: (ms) => clock.advance(ms) }
  }),
)

t.test('backoff grows to its cap and stays within its jitter', async (t) => {
  const policy = { minMs: 500, maxMs: 60_000, factor: 2, jitter: 0 }
  const random = seeded(1)
  t.same(
    [1, 2, 3, 4, 9].map((attempt) => backoffMs(attempt, policy, random)),
    [500, 1_000, 2_000, 4_000, 60_000],
  )
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2_000 }), fc.integer(), (attempt, seed) => {
      const ms = backoffMs(attempt, { ...policy, jitter: 0.2 }, seeded(seed))
      return ms >= 400 && ms <= 72_000
    }),
  )
})

t.test('every never overlaps, survives failures, and is over when it resolves', async (t) => {
  const clock = new SimClock()
  const abort = new AbortController()
  const errors: unknown[] = []
  let running = 0
  let runs = 0
  const loop = every(
    async (signal) => {
      t.equal(running, 0, 'no overlap')
      running += 1
      await clock.sleep(1_500, signal).finally(() => {
        running -= 1
      })
      runs += 1
      if (runs === 2) throw new Error('second run')
    },
    abort.signal,
    { intervalMs: 1_000, jitter: 0, clock, random: seeded(1), onError: (error) => errors.push(error) },
  )
  await clock.advance(10_000)
  t.equal(runs, 4)
  t.match(errors, [{ message: 'second run' }])
  abort.abort(new Error('stop'))
  await loop
  t.equal(running, 0)
  t.equal(clock.sleeping, 0)
  t.equal(errors.length, 1, 'an aborted run is not an error')
})

t.test('durations and sizes are read and written as people write them', async (t) => {
  t.same(
    ['250ms', '10s', '5m', '1h', '7d', '1.5s'].map(parseDurationMs),
    [250, 10_000, 300_000, 3_600_000, 604_800_000, 1_500],
  )
  for (const text of ['', '10', 's', '3 d', '-1s', '1w', '1s1m', 'Infinitys'])
    t.equal(parseDurationMs(text), undefined, text)
  t.same(['512B', '10MB', '64MiB', '1GiB', '2kB'].map(parseSizeBytes), [512, 1e7, 67_108_864, 1_073_741_824, 2_000])
  for (const text of ['', '64', '64mb', '1 MiB', 'MiB']) t.equal(parseSizeBytes(text), undefined, text)
  t.same([5, 12_000, 65_000, 3_900_000, 90_000_000].map(formatDurationMs), ['5ms', '12s', '1m5s', '1h5m', '1d1h'])
  t.same([512, 2_048, 67_108_864].map(formatSizeBytes), ['512B', '2.0KiB', '64.0MiB'])
  t.equal(parseRfc3339Ms(toRfc3339(1_700_000_000_123)), 1_700_000_000_123)
  t.equal(parseRfc3339Ms('yesterday'), undefined)
})

t.test('a local time reads as the locale data of Sweden has it, without loading them', async (t) => {
  const reference = new Intl.DateTimeFormat('sv-SE', { dateStyle: 'short', timeStyle: 'medium' })
  for (const moment of ['2025-01-31T14:05:09Z', '2024-02-29T00:00:00Z', '2025-07-01T23:59:59.999Z']) {
    const wallMs = Date.parse(moment)
    t.equal(toLocalTime(wallMs), reference.format(wallMs))
  }
})
