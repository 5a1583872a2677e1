import t from 'tap'
import { HsuError } from '../../../src/base/error.ts'
import type { Endpoint } from '../../../src/rpc/endpoint-source.ts'
import { createWaking, type Sleeper } from '../../../src/rpc/router/waking.ts'
import { endpoint } from '../../support/literal-world.ts'
import { settle, SimClock } from '../../../src/sim/sim-clock.ts'
import { throwsReason } from '../../support/throws-reason.ts'

/** A signal for each caller. */
const never = (): AbortSignal => new AbortController().signal
const asleep = (unit = 'echo', holdMs = 10_000): Endpoint =>
  endpoint({ unit, instance: '', address: '', ready: false, onCall: { holdMs, starts: true } })
const AWAKE = endpoint({ instance: 'echo-0-b' })

/** Holds calls; each wake it asks for is settled by the test. */
function rig() {
  const clock = new SimClock()
  const asked: {
    sleeper: Sleeper
    signal: AbortSignal
    done: (endpoints: readonly Endpoint[]) => void
    fail: (error: HsuError) => void
  }[] = []
  const waking = createWaking({
    clock,
    wake: (sleeper, signal) => new Promise((done, fail) => asked.push({ sleeper, signal, done, fail })),
  })
  const hold = (endpoints: readonly Endpoint[], signal = never(), node?: string) => {
    const held = waking.hold(endpoints, node, signal)
    if (held === undefined) throw new Error('nothing to wake')
    held.catch(() => undefined)
    return held
  }
  return { clock, asked, waking, hold }
}

t.test('what no call starts is not held', async (t) => {
  const { waking, asked } = rig()
  t.equal(waking.hold([endpoint({ ready: false })], undefined, never()), undefined)
  t.equal(waking.hold([], undefined, never()), undefined)
  t.equal(asked.length, 0)
})

t.test('however many calls wait, one wake is asked for, and all go on with what is awake', async (t) => {
  const { asked, hold, waking } = rig()
  const held = Array.from({ length: 100 }, () => hold([asleep()]))
  t.equal(waking.held, 100)
  t.same(
    asked.map(({ sleeper }) => sleeper),
    [{ unit: 'echo', node: undefined }],
  )
  asked[0]?.done([AWAKE])
  for (const endpoints of await Promise.all(held)) t.same(endpoints, [AWAKE])
  t.equal(waking.held, 0)
  void hold([asleep()])
  t.equal(asked.length, 2, 'the next sleep is another one')
})

t.test('of several units that offer a service, every node wakes the same', async (t) => {
  const { asked, hold } = rig()
  void hold([asleep('zeta'), endpoint({ unit: 'alpha', ready: false }), asleep('beta')])
  void hold([asleep('beta')], never(), 'edge-b')
  t.same(
    asked.map(({ sleeper }) => sleeper),
    [
      { unit: 'beta', node: undefined },
      { unit: 'beta', node: 'edge-b' },
    ],
  )
})

t.test(
  'one that is only waited for comes before one that would be started, and a refusal leads to the next',
  async (t) => {
    const { clock, asked, hold } = rig()
    const restarting = (unit: string) =>
      endpoint({ unit, instance: '', address: '', ready: false, onCall: { holdMs: 5_000, starts: false } })
    const held = hold([asleep('alpha'), restarting('zeta'), restarting('omega')])
    const units = () => asked.map(({ sleeper }) => sleeper.unit)
    t.same(units(), ['omega'])
    asked[0]?.fail(new HsuError('WAKE_FAILED', 'stopped'))
    await settle()
    t.same(units(), ['omega', 'zeta'])
    asked[1]?.fail(new HsuError('WAKE_FAILED', 'stopped too'))
    await settle()
    t.same(units(), ['omega', 'zeta', 'alpha'])
    asked[2]?.done([AWAKE])
    t.same(await held, [AWAKE])

    const late = hold([restarting('sigma'), restarting('tau')])
    await clock.advance(5_000)
    await throwsReason(t, 'WAKE_FAILED', () => late)
    t.equal(units().at(-1), 'sigma', 'all of them together have the time of one')
    const refused = hold([restarting('omega'), restarting('zeta')])
    await settle()
    asked.slice(4).forEach(({ fail }) => fail(new HsuError('WAKE_FAILED', 'again')))
    await settle()
    asked.slice(5).forEach(({ fail }) => fail(new HsuError('WAKE_FAILED', 'yet again')))
    t.match(
      await throwsReason(t, 'WAKE_FAILED', () => refused),
      { message: 'again' },
      'the first refusal is the answer',
    )
    t.equal(clock.sleeping, 0)
  },
)

t.test('a call for an unknown name waits for as long as the node does not know its names', async (t) => {
  const clock = new SimClock()
  let settled: () => void = () => undefined
  let settling: Promise<void> | undefined = new Promise((resolve) => (settled = resolve))
  const wake = async () => t.fail('nothing is to be woken') as never
  const waking = createWaking({ clock, wake, endpoints: { settling: () => settling } })
  const held = [waking.settling(never()), waking.settling(never())]
  t.equal(waking.held, 2)
  settled()
  for (const each of held) await each
  t.equal(waking.held, 0)
  const forEver = waking.settling(never())
  settling = undefined
  t.equal(waking.settling(never()), undefined)
  await forEver
  t.equal(clock.sleeping, 0)

  settling = new Promise(() => undefined)
  const left = waking.settling(never())
  await clock.advance(10_000)
  await left
  t.equal(waking.held, 0, 'a node that never says so holds nobody for ever')
})

t.test('each call waits as long as its unit says, and the wake goes on while another waits', async (t) => {
  const { clock, asked, hold } = rig()
  const first = hold([asleep('echo', 1_000)])
  await clock.advance(600)
  const second = hold([asleep('echo', 1_000)])
  await clock.advance(400)
  await throwsReason(t, 'WAKE_FAILED', () => first)
  t.equal(asked[0]?.signal.aborted, false)
  asked[0]?.done([AWAKE])
  t.same(await second, [AWAKE])
  t.equal(asked.length, 1)
  t.equal(clock.sleeping, 0)
})

t.test('a wake that nobody waits for any more is called off', async (t) => {
  const { asked, hold } = rig()
  const gone = new AbortController()
  const held = hold([asleep()], gone.signal)
  gone.abort(new HsuError('CANCELLED', 'the caller hung up'))
  await throwsReason(t, 'CANCELLED', () => held)
  t.equal(asked[0]?.signal.aborted, true)
  void hold([asleep()])
  t.equal(asked.length, 2, 'the next call asks anew')
})

t.test('a failure is the answer to all who wait, and for a second to those who come', async (t) => {
  const { clock, asked, hold } = rig()
  const held = [hold([asleep()]), hold([asleep()])]
  asked[0]?.fail(new HsuError('WAKE_FAILED', 'exited with code 3'))
  for (const each of held) await throwsReason(t, 'WAKE_FAILED', () => each)
  await clock.advance(999)
  await throwsReason(t, 'WAKE_FAILED', () => hold([asleep()]))
  t.equal(asked.length, 1)
  await clock.advance(1)
  void hold([asleep()])
  await settle()
  t.equal(asked.length, 2)
})

t.test('the calls that wait are bounded', async (t) => {
  const { asked, hold, waking } = rig()
  for (let call = 0; call < 1_000; call += 1) void hold([asleep()])
  await throwsReason(t, 'QUEUE_FULL', () => hold([asleep()]))
  t.equal(waking.held, 1_000)
  t.equal(asked.length, 1)
  for (const unit of ['b', 'c', 'd']) for (let call = 0; call < 1_000; call += 1) void hold([asleep(unit)])
  await throwsReason(t, 'QUEUE_FULL', () => hold([asleep('e')]))
})
