import type { Test } from 'tap'
import { type Clock, TIMED_OUT, within } from '../../src/base/clock.ts'

/** What every `Clock` must do; `pass` lets at least `ms` of its time go by. */
export async function clockContract(
  t: Test,
  make: () => { clock: Clock; pass: (ms: number) => Promise<void> },
): Promise<void> {
  t.test('a sleep ends no earlier than asked, shorter ones first', async (t) => {
    const { clock, pass } = make()
    const startMs = clock.nowMs()
    const order: string[] = []
    const naps = [clock.sleep(40).then(() => order.push('long')), clock.sleep(5).then(() => order.push('short'))]
    await pass(40)
    await Promise.all(naps)
    t.same(order, ['short', 'long'])
    t.ok(clock.nowMs() - startMs >= 39, 'timers may be rounded by a millisecond, no more')
  })

  t.test('an aborted sleep rejects with the reason, also when it was aborted before', async (t) => {
    const { clock } = make()
    const abort = new AbortController()
    const nap = clock.sleep(1_000_000, abort.signal)
    abort.abort(new Error('enough'))
    await t.rejects(nap, { message: 'enough' })
    await t.rejects(clock.sleep(1, abort.signal), { message: 'enough' })
  })

  t.test('within gives the answer or says that time won', async (t) => {
    const { clock, pass } = make()
    t.equal(await within(clock, 1_000_000, Promise.resolve('answer')), 'answer')
    const late = within(clock, 5, new Promise(() => undefined))
    await pass(5)
    t.equal(await late, TIMED_OUT)
  })
}
