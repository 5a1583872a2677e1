import t from 'tap'
import { createTurnstile } from '../../../src/base/turnstile.ts'
import { settle } from '../../../src/sim/sim-clock.ts'

t.test('so many run at once, the others in the order in which they came, also after a failure', async (t) => {
  const turnstile = createTurnstile(2)
  const begun: number[] = []
  const ends: (() => void)[] = []
  const pass = (task: number) =>
    turnstile.pass(async () => {
      begun.push(task)
      await new Promise<void>((resolve) => ends.push(resolve))
      if (task === 1) throw new Error('one')
      return task
    })
  const passed = Promise.allSettled([0, 1, 2, 3, 4].map(pass))
  await settle()
  t.same(begun, [0, 1])
  ends[1]?.()
  await settle()
  t.same(begun, [0, 1, 2])
  for (const end of ends) end()
  await settle()
  t.same(begun, [0, 1, 2, 3, 4])
  for (const end of ends) end()
  t.same(
    (await passed).map((each) => (each.status === 'fulfilled' ? each.value : (each.reason as Error).message)),
    [0, 'one', 2, 3, 4],
  )
})
