import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { systemBackends } from '../../src/process/limits/system-limits.ts'
import { fixture } from '../support/paths.ts'
import { supervise, workspace } from '../support/supervised.ts'
import { unitSpec } from '../support/unit-spec.ts'
import { until } from '../support/until.ts'

const gathers = (await systemBackends()).some((backend) => backend.gathers)
const skip = gathers ? false : 'this machine has no control groups that we may use'

/** A unit that left a daemon behind which nothing but the control group knows. */
async function hidden(t: Test, ...code: string[]) {
  const directory = workspace(t)
  const file = join(directory, 'daemon')
  const seen = await supervise(t, directory)
  const run = [fixture('hide.sh'), file, ...code]
  await seen.supervisor.apply([
    unitSpec('hider', { run, stop: { grace: '500ms', drain: '0ms' }, restart: { policy: 'no' } }, directory),
  ])
  const daemon = await until('the daemon', () => existsSync(file) && (Number(readFileSync(file, 'utf8')) || undefined))
  t.teardown(() => isRunning(daemon) && process.kill(daemon, 'SIGKILL'))
  return { ...seen, daemon }
}

t.test('A10: a daemon without session, parent and environment of its unit is ended with it', { skip }, async (t) => {
  const { status, supervisor, daemon } = await hidden(t)
  t.ok(isRunning(daemon))
  t.notMatch(readFileSync(`/proc/${daemon}/environ`, 'utf8'), /HSU/)
  const stat = readFileSync(`/proc/${daemon}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ')
  const { pid } = status('hider')
  t.notOk([Number(stat[1]), Number(stat[2]), Number(stat[3])].includes(pid ?? 0))
  await supervisor.stopUnit('hider', new AbortController().signal)
  t.notOk(isRunning(daemon))
})

t.test('A10: such a daemon is ended when its program ends by itself', { skip }, async (t) => {
  const { until: untilStatus, daemon } = await hidden(t, '0')
  await untilStatus('completed', ({ state }) => state === 'completed', 'hider')
  await until('the daemon is gone', () => !isRunning(daemon))
})

function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}
