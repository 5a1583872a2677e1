import t from 'tap'
import { type Cadence, readCadence } from '../../../src/process/jobs/cadence.ts'
import { freeLane } from '../../../src/process/jobs/lanes.ts'
import { admit, MAX_ACTIVE, outcomeOf, remembered, resume } from '../../../src/process/jobs/plan.ts'
import type { RunRecord } from '../../../src/process/jobs/run-record.ts'
import { handledAfter, planTicks } from '../../../src/process/jobs/ticks.ts'
import { newerClaim, prevails, type SharedSchedule, TAKEOVER_MS, turnOf } from '../../../src/process/jobs/turn.ts'
import type { SlotRecord } from '../../../src/process/slot-record.ts'
import { throwsReason } from '../../support/throws-reason.ts'

const at = (text: string): number => Date.parse(text)
const shown = (wallMs: number | undefined): string | undefined =>
  wallMs === undefined ? undefined : new Date(wallMs).toISOString().replace(':00.000Z', 'Z')

const RUN: RunRecord = {
  id: 'r1',
  lane: 0,
  cause: 'person',
  actor: '',
  args: [],
  startedAtMs: 1_000,
  attempts: 1,
  instance: 'job-0-a',
  state: 'running',
  reason: '',
  eventId: '',
}

t.test('what becomes of a run that is due while others run', async (t) => {
  const table = [
    ['allow', 0, 'start'],
    ['forbid', 0, 'start'],
    ['replace', 0, 'start'],
    ['allow', 3, 'start'],
    ['allow', MAX_ACTIVE, 'skip'],
    ['forbid', 1, 'skip'],
    ['replace', 1, 'replace'],
  ] as const
  for (const [concurrency, active, expected] of table)
    t.equal(admit(concurrency, active), expected, `${concurrency} ${active}`)
  t.equal(freeLane([0, 1, 3], 0), 2)
  t.equal(freeLane([], 1_000), 1_000)
})

t.test('what a run has come to', async (t) => {
  const exit = { code: 3 }
  const cases: [Parameters<typeof outcomeOf>[0], Partial<RunRecord>, ReturnType<typeof outcomeOf>][] = [
    [{ state: 'completed', exit: { code: 0 }, reason: '' }, {}, { state: 'completed', exit: { code: 0 }, reason: '' }],
    [
      { state: 'failed', exit, reason: 'exited with code 3' },
      {},
      { state: 'failed', exit, reason: 'exited with code 3' },
    ],
    [
      { state: 'failed', exit, reason: 'exited with code 3' },
      { attempts: 4 },
      { state: 'failed', exit, reason: 'exited with code 3, in the last of 4 attempts' },
    ],
    [
      { state: 'down', exit: { signal: 'SIGTERM' }, reason: 'stopped' },
      { ending: 'timeout', deadlineMs: 61_000 },
      { state: 'failed', exit: { signal: 'SIGTERM' }, reason: 'timeout: had not ended after 1m' },
    ],
    [
      { state: 'down', exit: undefined, reason: '' },
      { ending: 'replaced' },
      { state: 'stopped', reason: 'replaced by a later run' },
    ],
    [
      { state: 'down', exit: undefined, reason: '' },
      { ending: 'closed' },
      { state: 'stopped', reason: 'the node was stopped' },
    ],
    [
      { state: 'down', exit: { signal: 'SIGTERM' }, reason: 'memory 80MiB is over its limit' },
      {},
      { state: 'failed', exit: { signal: 'SIGTERM' }, reason: 'memory 80MiB is over its limit' },
    ],
    // It ended well in the moment it was to be stopped: its work is done.
    [
      { state: 'completed', exit: { code: 0 }, reason: '' },
      { ending: 'timeout' },
      { state: 'completed', exit: { code: 0 }, reason: '' },
    ],
  ]
  for (const [slot, run, expected] of cases) t.same(outcomeOf(slot, { ...RUN, ...run }), expected)
})

t.test('what the next node does about a run that was left', async (t) => {
  const slot = {
    phase: 'up',
    bootId: 'b1',
    closed: false,
    restarts: 0,
    reason: '',
  } as Partial<SlotRecord> as SlotRecord
  t.equal(resume(RUN, slot, 'b1'), 'adopt')
  t.equal(resume(RUN, { ...slot, phase: 'backoff', waitMs: 5 }, 'b1'), 'adopt')
  t.equal(resume(RUN, { ...slot, phase: 'failed', waitMs: 5 }, 'b1'), 'adopt', 'it will be tried again')
  t.equal(resume({ ...RUN, attempts: 0 }, undefined, 'b1'), 'begin', 'written down, and nothing of it started')
  t.match(resume(RUN, slot, 'b2'), { state: 'failed', reason: /machine was started anew/ })
  t.match(resume(RUN, { ...slot, closed: true, phase: 'down' }, 'b1'), {
    state: 'stopped',
    reason: 'the node was stopped',
  })
  t.match(resume(RUN, { ...slot, phase: 'completed', exit: { code: 0 } }, 'b2'), { state: 'completed' })
  t.match(resume(RUN, { ...slot, phase: 'failed', exit: { code: 4 }, reason: 'exited with code 4' }, 'b1'), {
    state: 'failed',
    exit: { code: 4 },
  })
})

t.test('ended runs are forgotten, oldest first; those that run never are', async (t) => {
  const runs = ['a', 'b', 'c', 'd'].map(
    (id, index): RunRecord => ({
      ...RUN,
      id,
      state: index === 0 ? 'running' : 'completed',
    }),
  )
  t.same(
    remembered(runs, 2).map(({ id }) => id),
    ['a', 'c', 'd'],
  )
  t.same(remembered(runs, 9).length, 4)
})

t.test('a cron expression has five fields, or six with seconds in front', async (t) => {
  const daily = await readCadence('0 2 * * *', 'UTC')
  t.equal(shown(daily.next(at('2025-01-01T02:00:00Z'))), '2025-01-02T02:00Z', 'strictly after')
  t.equal(shown(daily.last(at('2025-01-01T02:00:00Z'))), '2025-01-01T02:00Z', 'at or before')
  t.equal(shown(daily.last(at('2025-01-01T01:59:59.999Z'))), '2024-12-31T02:00Z')
  const quick = await readCadence('*/10 * * * * *', 'UTC')
  t.equal(quick.next(at('2025-01-01T00:00:00Z')), at('2025-01-01T00:00:10Z'))
  for (const wrong of ['61 * * * *', '* * * *', 'hourly', '0 0 30 2 *', '* * * * * * *', '2025-01-01T00:00:00', '']) {
    await throwsReason(t, 'CONFIG_INVALID', async () => readCadence(wrong, 'UTC'))
  }
})

t.test('where clocks change, a fixed time comes once a day and an interval goes on', async (t) => {
  const four = (cadence: Cadence, from: string): (string | undefined)[] => {
    const found: (string | undefined)[] = []
    for (let now = cadence.next(at(from)); found.length < 4; now = cadence.next(now as number)) found.push(shown(now))
    return found
  }
  const fixed = await readCadence('30 2 * * *', 'Europe/Berlin')
  t.same(
    four(fixed, '2025-03-28T12:00:00Z'),
    ['2025-03-29T01:30Z', '2025-03-30T01:00Z', '2025-03-31T00:30Z', '2025-04-01T00:30Z'],
    'left out by the clocks: at the end of the gap, 03:00',
  )
  t.same(
    four(fixed, '2025-10-25T12:00:00Z'),
    ['2025-10-26T00:30Z', '2025-10-27T01:30Z', '2025-10-28T01:30Z', '2025-10-29T01:30Z'],
    'there twice: the first time',
  )
  const hourly = await readCadence('15 * * * *', 'Europe/Berlin')
  t.same(four(hourly, '2025-10-25T23:00:00Z'), [
    '2025-10-25T23:15Z',
    '2025-10-26T00:15Z',
    '2025-10-26T01:15Z',
    '2025-10-26T02:15Z',
  ])
})

t.test('each moment of a schedule is dealt with once, whatever the clock does', async (t) => {
  const cadence = await readCadence('0 * * * *', 'UTC')
  const plan = (handled: string, now: string, missed: 'skip' | 'once' = 'skip', since = '2025-01-01T00:00:00Z') => {
    const { due, handledMs, nextMs, ...rest } = planTicks({
      ...{ cadence, missed, handledMs: at(handled), nowMs: at(now), sinceMs: at(since) },
    })
    return { due: shown(due), handled: shown(handledMs), next: shown(nextMs), ...rest }
  }
  const [nine, ten, eleven] = ['2025-01-01T09:00Z', '2025-01-01T10:00Z', '2025-01-01T11:00Z']
  t.same(plan(nine, '2025-01-01T09:59:59.999Z'), { due: undefined, missed: 0, handled: nine, next: ten }, 'not yet')
  t.same(plan(nine, ten), { due: ten, missed: 0, handled: ten, next: eleven })
  t.same(plan(ten, ten), { due: undefined, missed: 0, handled: ten, next: eleven }, 'once')
  t.same(plan(nine, '2025-01-01T10:00:09Z').due, ten, 'a little late is on time')
  t.same(plan('2025-01-01T07:00Z', ten), { due: ten, missed: 2, handled: ten, next: eleven }, 'slept through two')
  t.same(plan('2025-01-01T07:00Z', '2025-01-01T10:20Z'), { due: undefined, missed: 3, handled: ten, next: eleven })
  t.same(plan('2025-01-01T07:00Z', '2025-01-01T10:20Z', 'once').due, ten, 'one for all of them')
  t.match(
    plan(nine, '2025-01-01T10:00:02Z', 'skip', '2025-01-01T10:00:01Z'),
    { due: undefined, missed: 1 },
    'nobody was there',
  )
  t.same(plan(ten, '2025-01-01T08:30Z'), { due: undefined, missed: 0, handled: ten, next: eleven }, 'set back: waits')
  t.match(plan('2037-01-01T00:00Z', '2025-01-01T08:30Z'), { due: undefined, next: nine }, 'a clock that was wrong')
  t.equal(handledAfter(at('2037-01-01T00:00Z'), at(nine), at(nine)), at(nine))
  t.equal(handledAfter(at(ten), at(nine), at(nine)), at(ten))
})

t.test('nodes that share a schedule agree on who runs a moment', async (t) => {
  const none = { tickMs: 0, by: '' }
  const nodes = ['a', 'b', 'c', 'd']
  const view = (self: string, alive = nodes, more: Partial<SharedSchedule> = {}): SharedSchedule => {
    return { self, claims: new Map(alive.map((node) => [node, none])), busyElsewhere: 0, settlesInMs: 0, ...more }
  }
  const runners = new Map<string, number>()
  for (let tick = 1; tick <= 400; tick += 1) {
    const tickMs = tick * 60_000
    const turns = nodes.map((node) => turnOf('job', { tickMs, noticedMs: tickMs, nowMs: tickMs }, view(node)))
    t.same(
      turns.map((turn) => (turn === 'take' ? 0 : Number(turn))).toSorted((one, other) => one - other),
      [0, TAKEOVER_MS, 2 * TAKEOVER_MS, 3 * TAKEOVER_MS],
      'one at once, each other one a turn later',
    )
    const first = nodes[turns.indexOf('take')] as string
    runners.set(first, (runners.get(first) ?? 0) + 1)
  }
  for (const node of nodes) t.ok((runners.get(node) ?? 0) > 60, `${node} has its share: ${runners.get(node)} of 400`)

  const times = { tickMs: 60_000, noticedMs: 60_000, nowMs: 60_000 }
  const first = nodes.find((node) => turnOf('job', times, view(node)) === 'take') as string
  const rest = nodes.filter((node) => node !== first)
  t.equal(rest.filter((node) => turnOf('job', times, view(node, rest)) === 'take').length, 1, 'without the dead one')
  const claimed = new Map(nodes.map((node) => [node, node === first ? { tickMs: 60_000, by: first } : none]))
  t.ok(
    rest.every(
      (node) => turnOf('job', { ...times, nowMs: 99_000 }, view(node, nodes, { claims: claimed })) === 'taken',
    ),
  )
  t.equal(turnOf('job', times, view(first, nodes, { settlesInMs: 900 })), 900, 'who does not know the others yet waits')
  t.equal(
    turnOf('job', { ...times, noticedMs: 90_000, nowMs: 90_000 }, view(rest[0] as string)) === 'take',
    false,
    'a missed moment has turns too',
  )
})

t.test('of two claims on one moment one stands, the same for all who see both', async (t) => {
  const claims = new Map(['a', 'b', 'c'].map((node) => [node, { tickMs: 7, by: node === 'c' ? 'a' : node }]))
  const standing = ['a', 'b'].filter((self) => prevails('job', 7, { self, claims, busyElsewhere: 0, settlesInMs: 0 }))
  t.equal(standing.length, 1, 'c only passes on what a said')
  const early = { tickMs: 6, by: 'b' }
  t.same(newerClaim({ tickMs: 7, by: 'a' }, early), { tickMs: 7, by: 'a' })
  t.same(newerClaim(early, { tickMs: 7, by: 'a' }), { tickMs: 7, by: 'a' })
})
