import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { ProcessEvent } from '../../src/process/index.ts'
import { systemHost } from '../../src/process/index.ts'
import { fixture } from '../support/paths.ts'
import { nodeHome } from '../support/spawned-node.ts'
import { supervise, workspace } from '../support/supervised.ts'
import { unitSpec } from '../support/unit-spec.ts'
import { until } from '../support/until.ts'

const MIB = 1024 ** 2
const LIMIT = 64 * MIB
const { enforces } = await systemHost().kernelLimits()
const enforced = enforces.has('memory') ? false : 'this machine gives us no control group of memory'

// Told at once, so that the tests need not be slow; how long is waited is a matter of limit-watch.test.ts.
const AT_ONCE = { warn: '80%', spike: '0s', sustained: '0s' } as const
const QUICK = { backoff: '0ms..1s', jitter: '0%', give_up: '100/1m' } as const

type Limits = Parameters<typeof unitSpec>[1]['limits']

async function grower(t: Test, limits: Limits, more: Partial<Parameters<typeof unitSpec>[1]> = {}, mbPerSecond = 40) {
  const directory = workspace(t)
  const seen = await supervise(t, directory)
  const run = [process.execPath, fixture('grow-memory.mjs'), String(mbPerSecond), '300']
  await seen.supervisor.apply([
    unitSpec('grow', { run, restart: QUICK, limits: { memory: '64MiB', ...AT_ONCE, ...limits }, ...more }),
  ])
  const event = (type: ProcessEvent['type']): Promise<ProcessEvent> =>
    until(`${type} of the grower`, () => seen.events.find((each) => each.type === type), 60_000)
  const first = await seen.until('runs', ({ pid }) => pid !== undefined, 'grow')
  return { ...seen, event, first }
}

const usedBy = ({ details }: ProcessEvent): number => Number(details['used'])

t.test(
  'A13: the kernel holds a unit to its memory, and its end is told as one by the limit',
  { skip: enforced },
  async (t) => {
    const { events, event, until, first } = await grower(t, {}, {}, 10)
    t.match(first.limits, [{ resource: 'memory', value: LIMIT, mode: 'enforced', by: /^cgroup v[12] memory$/ }])
    const most: number[] = []
    const backoff = until('ended', ({ state, restarts }) => state === 'backoff' || restarts > 0, 'grow')
    const watching = setInterval(() => most.push(anonymousOf(first.pid)), 20)
    t.teardown(() => clearInterval(watching))
    await backoff
    clearInterval(watching)
    t.ok(Math.max(...most) <= LIMIT * 1.05, `resident at most ${Math.max(...most) / MIB} MiB`)
    const near = await event('unit.limit_near')
    t.ok(usedBy(near) >= 0.8 * LIMIT && usedBy(near) <= LIMIT, near.reason)
    t.match(await event('unit.limit_exceeded'), {
      details: { kind: 'resource_limit', source: 'kernel', resource: 'memory' },
    })
    const exited = await event('unit.exited')
    t.match(exited, {
      details: { signal: 'SIGKILL', kind: 'resource_limit' },
      cause: /memory limit of 64.0MiB exceeded/,
    })
    t.equal(exited.causedBy, events.find(({ type }) => type === 'unit.limit_exceeded')?.id)
    const again = await until('restarted', ({ restarts, pid }) => restarts > 0 && pid !== undefined, 'grow')
    t.not(again.pid, first.pid)
  },
)

t.test('A13: log and alert tell, once a crossing, and touch nothing', async (t) => {
  for (const on_exceed of ['log', 'alert'] as const) {
    const { events, event, status, first } = await grower(t, { on_exceed })
    await event('unit.limit_exceeded')
    await until('it has grown on', () => (status('grow').limits[0]?.used ?? 0) > 1.5 * LIMIT, 60_000)
    t.equal(status('grow').pid, first.pid)
    t.equal(status('grow').limits[0]?.mode, 'watched')
    for (const type of ['unit.limit_near', 'unit.limit_exceeded'] as const)
      t.ok(events.filter((each) => each.type === type).length <= 1, `${on_exceed}: ${type} at most once`)
  }
})

t.test('A13: restart gives a new process with memory as at first', async (t) => {
  const { event, until: untilStatus, first } = await grower(t, { on_exceed: 'restart' })
  const exceeded = await event('unit.limit_exceeded')
  t.match(await event('unit.stopping'), { causedBy: exceeded.id, reason: /^memory limit of 64.0MiB exceeded/ })
  t.match(await event('unit.exited'), { details: { signal: 'SIGTERM', kind: 'resource_limit' } })
  const again = await untilStatus('restarted', ({ pid, restarts }) => pid !== undefined && restarts > 0, 'grow')
  t.not(again.pid, first.pid)
  t.ok(anonymousOf(again.pid) < LIMIT)
})

t.test('A13: stop asks it to end and leaves it down, kill ends it by force', async (t) => {
  const stopped = await grower(t, { on_exceed: 'stop' })
  t.match(await stopped.event('unit.exited'), { details: { signal: 'SIGTERM' } })
  const down = await stopped.until('down', ({ state }) => state === 'down', 'grow')
  t.match(down, { want: 'down', reason: /^memory limit of 64.0MiB exceeded \(resource_limit\)/ })
  const killed = await grower(t, { on_exceed: 'kill' }, { restart: { ...QUICK, policy: 'no' } })
  t.match(await killed.event('unit.exited'), { details: { signal: 'SIGKILL', kind: 'resource_limit' } })
  const failed = await killed.until('failed', ({ state }) => state === 'failed', 'grow')
  t.match(failed.reason, /^memory limit of 64.0MiB exceeded/)
})

t.test('A13: raise lifts the limit by its factor, in the process that runs', async (t) => {
  const { event, status, first } = await grower(t, { on_exceed: 'raise', raise_factor: 2 })
  t.match(await event('unit.limit_raised'), { reason: 'memory limit raised to 128.0MiB' })
  t.equal(status('grow').limits[0]?.value, 2 * LIMIT)
  t.equal(status('grow').pid, first.pid)
})

t.test('A13: throttle slows the unit down and lets it live', { skip: enforced }, async (t) => {
  const { events, status, first } = await grower(t, { on_exceed: 'throttle' })
  await until(
    'it is throttled',
    () => events.some(({ type }) => type === 'unit.limit_throttled') || status('grow').limits[0]?.mode === 'enforced',
    60_000,
  )
  t.equal(status('grow').pid, first.pid)
})

t.test(
  'A13: the limits of the node are the same before and after; ps and describe tell of those of its unit',
  async (t) => {
    const { node } = nodeHome(t)
    const run = [process.execPath, fixture('grow-memory.mjs'), '10', '300']
    const one = node('one', {
      config: {
        version: 1,
        units: {
          grow: { run, restart: QUICK, limits: { memory: '64MiB', files: 200, pids: 60, ...AT_ONCE } },
        },
      },
    })
    await one.start()
    const limitsOf = (pid: number): string => readFileSync(`/proc/${pid}/limits`, 'utf8')
    const before = limitsOf(one.pid)
    const [unit] = await until(
      'the grower ended once',
      async () => {
        const rows = await one.json<{ restarts: number; pid: number | null }>('ps')
        return (rows[0]?.restarts ?? 0) > 0 && rows[0]?.pid !== null ? rows : undefined
      },
      60_000,
    )
    t.match(limitsOf(unit?.pid as number), /Max open files +200 +200 /)
    t.equal(limitsOf(one.pid), before)
    const described = await one.hsu('describe', 'grow')
    t.match(described.stdout, /memory +64.0MiB .*(enforced|watched)/)
    t.match(described.stdout, /files +200 .*enforced +rlimit nofile/)
    const doctor = await one.hsu('doctor')
    for (const resource of ['memory', 'cpu', 'pids', 'files', 'io.read', 'io.write'])
      t.match(doctor.stdout, new RegExp(`limit: ${resource} +(enforced|watched|unsupported) \\(`))
  },
)

/** Without the pages of program files, which are counted for whoever read them first. */
function anonymousOf(pid: number | undefined): number {
  try {
    const match = /^RssAnon:\s+(\d+) kB/m.exec(readFileSync(join('/proc', String(pid), 'status'), 'utf8'))
    return Number(match?.[1] ?? 0) * 1024
  } catch {
    return 0
  }
}
