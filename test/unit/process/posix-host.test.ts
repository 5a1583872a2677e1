import t from 'tap'
import type { ProcessIdentity } from '../../../src/process/identity.ts'
import { hostLimits } from '../../../src/process/limits/host-limits.ts'
import { posixHost } from '../../../src/process/posix-host.ts'
import { fakeTable, processInfo } from '../../support/fake-table.ts'
import { SimClock } from '../../../src/sim/sim-clock.ts'
import { until } from '../../support/until.ts'

t.test('a look that fails does not end the watch of an adopted process', async (t) => {
  const table = fakeTable([processInfo({ pid: 7 }), processInfo({ pid: 8, ppid: 7 })])
  const looks = { count: 0 }
  const get = table.get.bind(table)
  table.get = (pid) => {
    looks.count += 1
    return get(pid)
  }
  const clock = new SimClock()
  const host = posixHost({ clock, table, limits: hostLimits(clock, async () => []) })
  const identity = (pid: number): ProcessIdentity => ({ pid, startTime: `start-${pid}`, bootId: table.boot })
  const child = await host.adopt({ directory: t.testdir({}), leader: identity(7), main: identity(8) })
  if ('gone' in child) throw new Error('it lives')
  t.teardown(() => child.release())
  let ended = false
  const exited = child.exited.then(() => {
    ended = true
  })
  table.fault = new Error('EMFILE: too many open files')
  const before = looks.count
  await until('a look fails', async () => {
    await clock.advance(1_000)
    return looks.count > before
  })
  table.fault = undefined
  table.processes = []
  await until(
    'the end is seen',
    async () => {
      await clock.advance(1_000)
      return ended
    },
    3_000,
  )
  await exited
})
