import fc from 'fast-check'
import t from 'tap'
import type { Exit } from '../../../src/process/exit.ts'
import {
  INITIAL_STATE,
  STOPPED,
  type StepRules,
  type UnitEvent,
  type UnitEventType,
  type UnitPhase,
  type UnitState,
} from '../../../src/process/unit-state.ts'
import { step, timerOf } from '../../../src/process/unit-table.ts'
import { seeded } from '../../../src/sim/seeded.ts'
import { unitSpec } from '../../support/unit-spec.ts'

type Restart = NonNullable<Parameters<typeof unitSpec>[1]['restart']>

const rules = (restart: Restart = {}, nowMs = 0): StepRules => ({
  restart: unitSpec('x', { restart: { jitter: '0%', ...restart } }).config.restart,
  startWithinMs: 30_000,
  nowMs,
  random: seeded(1),
})

const event = (type: UnitEventType, exit?: Exit, reason = ''): UnitEvent => ({ type, exit, reason })
const crash = event('exited', { code: 3 })
const clean = event('exited', { code: 0 })
const state = (phase: UnitPhase, want: 'up' | 'down' = 'up', more: Partial<UnitState> = {}): UnitState => ({
  ...INITIAL_STATE,
  phase,
  want,
  generation: 1,
  ...more,
})

const PHASES: readonly UnitPhase[] = ['down', 'starting', 'up', 'stopping', 'backoff', 'failed', 'completed']
const TYPES: readonly UnitEventType[] = [
  'wantUp',
  'wantDown',
  'restart',
  'forceRestart',
  'hold',
  'sleep',
  'blocked',
  'admitted',
  'spawnFailed',
  'ready',
  'unready',
  'unhealthy',
  'overused',
  'exited',
  'startTimeout',
  'stableTimer',
  'backoffTimer',
  'retryTimer',
]

t.test('the table, phase by phase', async (t) => {
  type Row = [from: UnitPhase, event: UnitEventType, to: UnitPhase, ...effects: string[]]
  const moves: Row[] = [
    ['down', 'wantUp', 'down', 'admit'],
    ['down', 'restart', 'down', 'admit'],
    ['down', 'forceRestart', 'starting', 'spawn'],
    ['starting', 'forceRestart', 'stopping', 'hurry', 'terminate'],
    ['up', 'forceRestart', 'stopping', 'hurry', 'terminate'],
    ['stopping', 'forceRestart', 'stopping', 'hurry'],
    ['backoff', 'forceRestart', 'starting', 'spawn'],
    ['failed', 'forceRestart', 'starting', 'spawn'],
    ['completed', 'forceRestart', 'starting', 'spawn'],
    ['down', 'admitted', 'starting', 'spawn'],
    ['starting', 'ready', 'up'],
    ['starting', 'wantDown', 'stopping', 'terminate'],
    ['starting', 'restart', 'stopping', 'terminate'],
    ['starting', 'hold', 'stopping', 'terminate'],
    ['starting', 'unhealthy', 'stopping', 'terminate'],
    ['starting', 'overused', 'stopping', 'terminate'],
    ['starting', 'startTimeout', 'starting', 'kill'],
    ['starting', 'exited', 'backoff'],
    ['starting', 'spawnFailed', 'failed'],
    ['up', 'ready', 'up'],
    ['up', 'unready', 'up'],
    ['up', 'stableTimer', 'up'],
    ['up', 'wantDown', 'stopping', 'terminate'],
    ['up', 'restart', 'stopping', 'terminate'],
    ['up', 'hold', 'stopping', 'terminate'],
    ['up', 'sleep', 'stopping', 'terminate'],
    ['up', 'unhealthy', 'stopping', 'terminate'],
    ['up', 'overused', 'stopping', 'terminate'],
    ['up', 'exited', 'backoff'],
    ['stopping', 'exited', 'starting', 'spawn'],
    ['stopping', 'spawnFailed', 'starting', 'spawn'],
    ['backoff', 'backoffTimer', 'starting', 'spawn'],
    ['backoff', 'wantUp', 'down', 'admit'],
    ['backoff', 'restart', 'down', 'admit'],
    ['backoff', 'hold', 'down', 'admit'],
    ['backoff', 'wantDown', 'down'],
    ['failed', 'retryTimer', 'starting', 'spawn'],
    ['failed', 'wantUp', 'down', 'admit'],
    ['failed', 'restart', 'down', 'admit'],
    ['failed', 'wantDown', 'down'],
    ['completed', 'wantUp', 'down', 'admit'],
    ['completed', 'restart', 'down', 'admit'],
    ['completed', 'wantDown', 'down'],
  ]
  const named = new Map(moves.map(([from, type, ...outcome]) => [`${from} ${type}`, outcome]))
  for (const phase of PHASES) {
    for (const type of TYPES) {
      const { state: next, effects } = step(state(phase), type === 'exited' ? crash : event(type), rules())
      const [to, ...expected] = named.get(`${phase} ${type}`) ?? [phase]
      t.same([next.phase, ...effects], [to, ...expected], `${phase} + ${type}`)
    }
  }
})

t.test('a stale event returns the very same state', async (t) => {
  for (const [phase, type] of [
    ['down', 'exited'],
    ['up', 'backoffTimer'],
    ['backoff', 'ready'],
    ['failed', 'startTimeout'],
    ['stopping', 'unhealthy'],
  ] as const) {
    const before = state(phase)
    t.equal(step(before, event(type), rules()).state, before, `${phase} + ${type}`)
  }
})

t.test('what was put to sleep is down until somebody wants it', async (t) => {
  const ended = (before: UnitState): UnitState => step(before, clean, rules({ policy: 'always' })).state
  const falling = step(state('up'), event('sleep', undefined, 'idle for 10s'), rules()).state
  t.match(falling, { phase: 'stopping', want: 'down', asleep: true, ready: false })
  const asleep = ended(falling)
  t.match(asleep, { phase: 'down', want: 'down', asleep: true, reason: 'idle for 10s' })
  t.match(step(asleep, event('wantUp'), rules()), { state: { want: 'up', asleep: false }, effects: ['admit'] })
  t.match(step(asleep, event('wantDown', undefined, STOPPED), rules()).state, { asleep: false, reason: STOPPED })
  t.match(step(state('down', 'down'), event('sleep', undefined, 'new'), rules()).state, { asleep: true, reason: 'new' })

  const called = step(falling, event('wantUp'), rules()).state
  t.match(called, { phase: 'stopping', want: 'up', asleep: false }, 'a call in the middle of the stop')
  t.match(step(called, clean, rules()), { state: { phase: 'down', want: 'up' }, effects: ['admit'] })
  const stopped = step(falling, event('wantDown', undefined, STOPPED), rules()).state
  t.match(ended(stopped), { phase: 'down', asleep: false, reason: STOPPED })
})

t.test('what follows an end depends on the policy and on how it ended', async (t) => {
  const outcome = (policy: NonNullable<Restart['policy']>, how: UnitEvent): UnitPhase =>
    step(state('up'), how, rules({ policy })).state.phase
  t.same(
    (['no', 'on-failure', 'always', 'unless-stopped'] as const).map((policy) => [
      policy,
      outcome(policy, clean),
      outcome(policy, crash),
    ]),
    [
      ['no', 'completed', 'failed'],
      ['on-failure', 'completed', 'backoff'],
      ['always', 'backoff', 'backoff'],
      ['unless-stopped', 'backoff', 'backoff'],
    ],
  )
  t.equal(outcome('on-failure', event('exited', undefined)), 'backoff', 'an end that nobody saw counts as a crash')
  t.equal(
    outcome('on-failure', event('exited', { signal: 'SIGTERM' })),
    'backoff',
    'so does a signal that we did not send',
  )
})

t.test('a unit asked to stop ends down, whatever its policy and its exit', async (t) => {
  for (const policy of ['no', 'always'] as const) {
    for (const how of [clean, crash])
      t.match(step(state('stopping', 'down'), how, rules({ policy })).state, { phase: 'down', streak: 0 })
  }
})

t.test('backoff doubles from crash to crash up to its cap, and a stable time resets it', async (t) => {
  const policy = { backoff: '100ms..1s', give_up: '100/1h' }
  let now = state('up')
  const waits: (number | undefined)[] = []
  for (let crashes = 1; crashes <= 6; crashes += 1) {
    now = step(now, crash, rules(policy)).state
    waits.push(now.waitMs)
    t.same(timerOf(now, rules(policy)), { type: 'backoffTimer', ms: now.waitMs })
    now = step(step(now, event('backoffTimer'), rules(policy)).state, event('ready'), rules(policy)).state
  }
  t.same(waits, [100, 200, 400, 800, 1_000, 1_000])
  t.match(now, { restarts: 6, generation: 7 })
  now = step(now, event('stableTimer'), rules(policy)).state
  t.equal(step(now, crash, rules(policy)).state.waitMs, 100)
})

t.test('too many crashes within the window fail the unit, older ones do not count', async (t) => {
  const policy = { give_up: '3/10s', then: 'retry 1m' } as const
  const crashAt = (before: UnitState, nowMs: number): UnitState =>
    step({ ...before, phase: 'up' }, crash, rules(policy, nowMs)).state
  const spread = [0, 6_000, 12_000, 18_000].reduce(crashAt, state('up'))
  t.equal(spread.phase, 'backoff')
  const failed = crashAt(spread, 19_000)
  t.match(failed, { phase: 'failed', waitMs: 60_000, gaveUp: true })
  t.same(timerOf(failed, rules(policy)), { type: 'retryTimer', ms: 60_000 })

  await t.test('the retry is a trial: one more crash is enough', async (t) => {
    const trial = step(failed, event('retryTimer'), rules(policy, 79_000)).state
    t.equal(trial.phase, 'starting')
    t.match(step(trial, crash, rules(policy, 80_000)).state, { phase: 'failed', waitMs: 60_000 })
    const stable = step({ ...trial, phase: 'up' }, event('stableTimer'), rules(policy, 140_000)).state
    t.equal(step(stable, crash, rules(policy, 141_000)).state.phase, 'backoff')
  })

  await t.test('a person who starts it wipes the slate', async (t) => {
    t.match(step(failed, event('wantUp'), rules(policy)).state, {
      phase: 'down',
      want: 'up',
      gaveUp: false,
      streak: 0,
      crashesAtMs: [],
    })
  })

  await t.test('then: stop waits for ever', async (t) => {
    const stays = step(state('up'), crash, rules({ give_up: '1/1m', then: 'stop' })).state
    t.match(stays, { phase: 'failed', waitMs: undefined })
    t.equal(timerOf(stays, rules()), undefined)
  })
})

t.test('a start that takes too long is killed and counts as a crash with that reason', async (t) => {
  const { state: overdue, effects } = step(state('starting'), event('startTimeout'), rules())
  t.same(effects, ['kill'])
  const after = step(overdue, clean, rules()).state
  t.match(after, { phase: 'backoff', streak: 1, reason: 'not ready within 30s', fault: '' })
})

t.test('a failing liveness probe ends the instance politely and counts as a crash', async (t) => {
  const ending = step(state('up'), event('unhealthy', undefined, 'no answer'), rules()).state
  t.match(ending, { phase: 'stopping', fault: 'no answer' })
  t.match(step(ending, clean, rules()).state, { phase: 'backoff', streak: 1, reason: 'no answer' })
  const pardoned = step(ending, event('restart'), rules()).state
  t.match(step(pardoned, clean, rules()).state, { phase: 'starting', streak: 0 })
  const unwanted = step(ending, event('wantDown'), rules()).state
  t.match(step(unwanted, clean, rules()).state, { phase: 'down' })
})

t.test('what counts as a success is what the configuration says', async (t) => {
  const after = (exit: Exit, success: (number | string)[]) =>
    step(state('up'), event('exited', exit), rules({ success })).state.phase
  t.equal(after({ code: 3 }, [0, 3]), 'completed')
  t.equal(after({ code: 0 }, [3]), 'backoff', 'the list is the whole of it')
  t.equal(after({ signal: 'SIGTERM' }, [0]), 'backoff')
  for (const name of ['TERM', 'SIGTERM', 'term', 143])
    t.equal(after({ signal: 'SIGTERM' }, [0, name]), 'completed', `${name}`)
  t.equal(after({ signal: 'SIGKILL' }, [0, 143, 'TERM']), 'backoff')
  const always = rules({ policy: 'always', success: [0, 'TERM'] })
  const ended = step(state('up'), event('exited', { signal: 'SIGTERM' }), always).state
  t.match(ended, { phase: 'backoff', crashesAtMs: [] }, 'restarted, and yet no crash')
  t.throws(() => unitSpec('x', { restart: { success: ['NOSUCH'] } }), /exit code or a signal/)
  t.throws(() => unitSpec('x', { restart: { success: [] } }))
})

t.test('a wait goes on where it was when the node is started anew', async (t) => {
  const waiting = step(state('up'), crash, rules({ backoff: '10s..10s' }, 1_000)).state
  t.match(waiting, { waitMs: 10_000, untilMs: 11_000 })
  t.match(timerOf(waiting, rules({}, 1_000)), { ms: 10_000 })
  t.match(timerOf(waiting, rules({}, 4_000)), { ms: 7_000 })
  t.match(timerOf(waiting, rules({}, 99_000)), { ms: 0 })
  t.match(
    timerOf({ ...waiting, untilMs: 999_000 }, rules({}, 0)),
    { ms: 10_000 },
    'no longer than the wait, whatever the clock did',
  )
  t.equal(step(waiting, event('backoffTimer'), rules()).state.untilMs, undefined)
})

t.test('what is held asks its dependencies before it is started again', async (t) => {
  const ending = step(state('up'), event('hold', undefined, 'no db'), rules()).state
  t.match(ending, { phase: 'stopping', held: true, reason: 'no db' })
  t.match(step(ending, crash, rules()), { state: { phase: 'down', held: false, streak: 0 }, effects: ['admit'] })
  const sick = step(state('up'), event('unhealthy', undefined, 'no answer'), rules()).state
  const both = step(sick, event('hold'), rules()).state
  t.match(step(both, clean, rules()), { state: { phase: 'down', streak: 1, waitMs: undefined }, effects: ['admit'] })
  const last = step(both, clean, rules({ give_up: '1/1m', then: 'stop' }))
  t.match(last, { state: { phase: 'failed', waitMs: undefined }, effects: [] }, 'one that is given up stays so')
  t.match(step(state('failed', 'up', { waitMs: 5 }), event('hold'), rules()), {
    state: { phase: 'down' },
    effects: ['admit'],
  })
  const unwanted = step(ending, event('wantDown'), rules()).state
  t.match(step(unwanted, clean, rules()), { state: { phase: 'down', held: false }, effects: [] })
  const forced = step(ending, event('forceRestart'), rules()).state
  t.match(step(forced, clean, rules()), { state: { phase: 'starting' }, effects: ['spawn'] }, 'a person insists')
})

t.test(
  'a start asked for during a stop asks the dependencies, which may have failed since it was wanted down',
  async (t) => {
    for (const type of ['wantUp', 'restart'] as const) {
      const stopping = step(state('up'), event('wantDown', undefined, STOPPED), rules()).state
      const wanted = step(stopping, event(type), rules()).state
      t.match(wanted, { phase: 'stopping', want: 'up', held: true })
      t.match(step(wanted, crash, rules()), { state: { phase: 'down', held: false, reason: '' }, effects: ['admit'] })
    }
    const turned = step(step(state('up'), event('restart'), rules()).state, event('wantUp'), rules()).state
    t.match(
      step(turned, crash, rules()),
      { effects: ['spawn'] },
      'one that was never wanted down was watched all the time',
    )
  },
)

t.test('a program that cannot be spawned is failed at once and tried again as after a crash', async (t) => {
  const policy = { backoff: '100ms..1s', give_up: '3/10s' }
  const failed = step(state('starting'), event('spawnFailed', undefined, 'no such file'), rules(policy)).state
  t.match(failed, { phase: 'failed', waitMs: 100, reason: 'no such file' })
  const never = step(state('starting'), event('spawnFailed'), rules({ policy: 'no' })).state
  t.match(never, { phase: 'failed', waitMs: undefined })
})

const anyEvent = fc.record({
  type: fc.constantFrom(...TYPES),
  reason: fc.constantFrom('', 'why'),
  exit: fc.constantFrom<Exit | undefined>(undefined, { code: 0 }, { code: 1 }, { signal: 'SIGKILL' }),
})
const anyPolicy = fc.constantFrom('no' as const, 'on-failure' as const, 'always' as const, 'unless-stopped' as const)

t.test('whatever happens', async (t) => {
  const property = fc.property(fc.array(anyEvent, { maxLength: 40 }), anyPolicy, (events, policy) => {
    let now = INITIAL_STATE
    for (const [index, each] of events.entries()) {
      const before = now
      const { state: next, effects } = step(now, each, rules({ policy }, index * 1_000))
      now = next
      if (now.ready && now.phase !== 'up') return false
      if (now.generation !== before.generation + (effects.includes('spawn') ? 1 : 0)) return false
      if (effects.includes('spawn') && now.want === 'down') return false
      if (now.crashesAtMs.length > rules().restart.give_up.crashes) return false
      // Every state has a way out: a timer, a process that will end, or a person.
      const moves = TYPES.filter((type) => step(now, event(type), rules({ policy })).state.phase !== now.phase)
      const asks = step(now, event('wantUp'), rules()).effects.includes('admit')
      if (moves.length === 0 && !asks) return false
    }
    // A person who wants it down gets it down once the process, if any, has ended.
    const ended = [event('wantDown'), clean].reduce((state, each) => step(state, each, rules({ policy })).state, now)
    return ended.phase === 'down' && ended.want === 'down'
  })
  fc.assert(property, { numRuns: 2_000, seed: 7 })
  t.pass(
    'it is ready only when up, starts only what is wanted, counts each start once, can always be left and always be stopped',
  )
})

t.test('an exceeded limit', async (t) => {
  const reason = 'memory limit of 64.0MiB exceeded'
  const overused = (overuse: UnitEvent['overuse']): UnitEvent => ({ ...event('overused', undefined, reason), overuse })

  await t.test('restarts, stops or kills the unit, as is asked for, and gives the reason', async (t) => {
    const restart = step(state('up'), overused('restart'), rules())
    t.same(restart.effects, ['terminate'])
    t.match(step(restart.state, clean, rules()).state, { phase: 'backoff', streak: 1, reason, overuse: true })
    const stop = step(state('up'), overused('stop'), rules())
    t.match(stop, { state: { phase: 'stopping', want: 'down' }, effects: ['terminate'] })
    t.match(step(stop.state, clean, rules()).state, { phase: 'down', want: 'down', reason, fault: '', overuse: false })
    const kill = step(state('up'), overused('kill'), rules())
    t.match(kill, { state: { phase: 'up', fault: reason }, effects: ['kill'] })
    t.match(step(kill.state, event('exited', { signal: 'SIGKILL' }), rules()).state, { phase: 'backoff', reason })
  })

  await t.test('that the kernel enforced by an end is the reason of that end', async (t) => {
    const killed = { ...event('exited', { signal: 'SIGKILL' }, reason), overuse: 'killed' } as const
    t.match(step(state('up'), killed, rules()).state, { phase: 'backoff', reason, exit: { signal: 'SIGKILL' } })
    t.match(step(state('up'), killed, rules({ policy: 'no' })).state, { phase: 'failed', reason })
  })

  await t.test('is overruled by a person who wants the unit up', async (t) => {
    const { state: stopping } = step(state('up'), overused('stop'), rules())
    const { state: pardoned } = step(stopping, event('wantUp'), rules())
    const again = { state: { phase: 'down', reason: '', fault: '', overuse: false }, effects: ['admit'] } as const
    t.match(step(pardoned, clean, rules()), again)
  })

  await t.test('is borne so many times longer and more often as the profile says; another crash is not', async (t) => {
    const factors = { web: 1, worker: 2, scheduler: 2.5, batch: 3, database: 5 } as const
    for (const [profile, factor] of Object.entries(factors)) {
      const policy = { profile: profile as keyof typeof factors, backoff: '1s..1s', jitter: '0%', give_up: '2/1h' }
      const end = (overuse: boolean, crashesAtMs: readonly number[]) =>
        step(state('up', 'up', { fault: reason, overuse, crashesAtMs }), crash, rules(policy, 10_000)).state
      t.match(end(true, []), { phase: 'backoff', waitMs: factor * 1_000 }, profile)
      t.match(end(false, []), { phase: 'backoff', waitMs: 1_000 }, profile)
      const most = 2 * factor
      const before = (count: number): number[] => Array.from({ length: count }, () => 9_000)
      t.equal(end(true, before(most - 1)).phase, 'failed', `${profile}: ${most} are too many`)
      if (most > 2) t.equal(end(true, before(most - 2)).phase, 'backoff', `${profile}: one less is not`)
      t.equal(end(false, before(1)).phase, 'failed', `${profile}: two of another kind are`)
    }
  })
})
