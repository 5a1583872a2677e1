import t from 'tap'
import { createTopic } from '../../../src/base/topic.ts'
import { createTaskGroup } from '../../../src/base/task-group.ts'
import { dependantsFirst } from '../../../src/process/dependencies.ts'
import { type DependantSlot, DependencyGate } from '../../../src/process/dependency-gate.ts'
import { NEW_TIE, retie } from '../../../src/process/dependency-tie.ts'
import type { AwaitedSlot, InstanceStatus, ProcessEvent } from '../../../src/process/index.ts'
import type { LogLine, LogQuery } from '../../../src/process/output.ts'
import type { RunCommand } from '../../../src/process/run-command.ts'
import { memoryLog } from '../../support/memory-log.ts'
import { SimClock } from '../../../src/sim/sim-clock.ts'
import { throwsReason } from '../../support/throws-reason.ts'
import { type Watched, World } from '../../support/sim-world.ts'
import { unitSpec } from '../../support/unit-spec.ts'

const never = new AbortController().signal
const run = ['/bin/serve']
const restart = { backoff: '1s..1s', jitter: '0%' } as const

t.test('a tie is lost when none of those that met it meets it any more, and back when any does', async (t) => {
  const after = (...looks: string[][]): string[] => {
    let tie = NEW_TIE
    return looks.map((meeting) => {
      const step = retie(tie, meeting)
      tie = step.tie
      return step.changes.join(' ')
    })
  }
  t.same(after([], ['a'], [], [], ['b'], ['b']), ['', '', 'lost', '', 'back', ''])
  t.same(after(['a'], ['a', 'b'], ['b'], []), ['', '', '', 'lost'], 'another replica carries on')
  t.same(after(['a'], ['b']), ['', 'lost back'], 'a quick replacement is both')
})

t.test('what stands on others ends first, also when the end of one of them fails', async (t) => {
  const units = ['db', 'api', 'web'].map((name, index, all) =>
    unitSpec(name, { run, depends_on: index === 0 ? [] : [all[index - 1] ?? ''] }),
  )
  const ended: string[] = []
  const ending = dependantsFirst(units, async ({ name }) => {
    ended.push(name)
    if (name === 'api') throw new Error('api does not end')
  })
  await t.rejects(ending, { message: 'api does not end' })
  t.same(ended, ['web', 'api', 'db'])
})

const db = unitSpec('db', { run, restart })

const onFail = (on_fail: 'keep' | 'stop' | 'restart', condition: 'started' | 'healthy' = 'healthy') =>
  unitSpec('api', { run, depends_on: { db: { on_fail, condition } } })

/** The events of a unit as `type: reason`, each with the event that it names as its cause. */
const accountOf = ({ events }: Watched, unit: string): [event: string, cause: string | undefined][] => {
  const byId = new Map(events.map((event) => [event.id, event]))
  const text = (event: ProcessEvent | undefined): string | undefined => event && `${event.unit} ${event.type.slice(5)}`
  return events
    .filter((event) => event.unit === unit)
    .map((event) => [`${event.type.slice(5)}${event.reason && `: ${event.reason}`}`, text(byId.get(event.causedBy))])
}

t.test('on_fail: keep runs on, and shows what it lacks', async (t) => {
  const watched = await new World(t).supervise([onFail('keep'), db])
  const { pid } = watched.status('api')
  const seen = watched.events.length
  await watched.crash('db')
  t.match(watched.status('api'), { state: 'up', ready: true, pid, reason: "'db' is not healthy" })
  await watched.pass(1_100)
  t.match(watched.status('api'), { state: 'up', ready: true, pid, reason: '' })
  watched.events.splice(0, seen)
  t.same(accountOf(watched, 'api'), [
    ["dependency_lost: 'db' is no longer healthy; it is backoff: exited with code 1", 'db backoff'],
    ["dependency_back: 'db' is healthy again", 'db ready'],
  ])
})

t.test('on_fail: stop is stopped until it is back, and each step names its cause', async (t) => {
  const watched = await new World(t).supervise([onFail('stop'), db])
  const { instance } = watched.status('api')
  const seen = watched.events.length
  await watched.crash('db')
  t.match(watched.status('api'), {
    state: 'down',
    want: 'up',
    reason: /^waits for 'db' to be healthy; it is backoff/,
    pid: undefined,
  })
  await watched.pass(1_100)
  t.match(watched.states(), { api: 'up ready', db: 'up ready' })
  t.not(watched.status('api').instance, instance)
  watched.events.splice(0, seen)
  const lost = "'db' is no longer healthy; it is backoff: exited with code 1"
  t.same(accountOf(watched, 'api'), [
    [`dependency_lost: ${lost}`, 'db backoff'],
    [`stopping: ${lost}`, 'api dependency_lost'],
    ['exited: ended by SIGTERM', 'api stopping'],
    ['down: stopped until it may run again', 'api exited'],
    ["waiting: waits for 'db' to be healthy", 'api down'],
    ['started', 'db ready'],
    ['ready', 'api started'],
  ])
})

t.test('on_fail: restart is restarted when it is back, not before', async (t) => {
  const watched = await new World(t).supervise([onFail('restart'), db])
  const { pid } = watched.status('api')
  await watched.crash('db')
  await watched.pass(500)
  t.match(watched.status('api'), { state: 'up', ready: true, pid, reason: "'db' is not healthy" })
  const seen = watched.events.length
  await watched.pass(600)
  t.match(watched.status('api'), { state: 'up', ready: true, restarts: 1, reason: '' })
  t.not(watched.status('api').pid, pid)
  watched.events.splice(0, seen)
  t.same(accountOf(watched, 'api').slice(0, 2), [
    ["dependency_back: 'db' is healthy again", 'db ready'],
    ["stopping: 'db' is healthy again", 'api dependency_back'],
  ])
})

t.test('a restart of the dependency by a person counts as its end and its return', async (t) => {
  for (const policy of ['stop', 'restart'] as const) {
    const watched = await new World(t).supervise([onFail(policy, 'started'), db])
    const { pid } = watched.status('api')
    await Promise.all([watched.supervisor.restartUnit('db', never), watched.pass(200)])
    t.match(watched.status('api'), { state: 'up', ready: true }, policy)
    t.not(watched.status('api').pid, pid, policy)
  }
})

t.test('one of several replicas that goes is no loss', async (t) => {
  const watched = await new World(t).supervise([onFail('stop'), unitSpec('db', { run, restart, replicas: 2 })])
  const { pid } = watched.status('api')
  await watched.crash('db')
  t.match(watched.status('api'), { state: 'up', pid })
  await watched.pass(1_100)
  t.match(watched.status('api'), { state: 'up', pid, reason: '' })
})

t.test('who is not wanted up is left alone', async (t) => {
  const watched = await new World(t).supervise([onFail('stop'), db])
  await Promise.all([watched.supervisor.stopUnit('api', never), watched.pass(100)])
  await watched.crash('db')
  await watched.pass(1_100)
  t.match(watched.states(), { api: 'down', db: 'up ready' })
  t.notOk(watched.typesOf('api').includes('dependency_lost'))
})

t.test('a failure is passed on along the chain, and the return too', async (t) => {
  const agent = unitSpec('agent', { run, depends_on: { api: { on_fail: 'stop' } } })
  const watched = await new World(t).supervise([agent, onFail('stop'), db])
  await watched.crash('db')
  await watched.pass(100)
  t.match(watched.states(), { agent: 'down', api: 'down', db: 'backoff' })
  t.match(watched.status('agent').reason, /^waits for 'api' to be healthy; it is down: waits for 'db'/)
  await watched.pass(1_100)
  t.match(watched.states(), { agent: 'up ready', api: 'up ready', db: 'up ready' })
})

t.test('what failed while no node ran is seen by the next one', async (t) => {
  for (const [policy, expected] of [
    ['keep', { state: 'up', reason: "'db' is not healthy" }],
    ['stop', { state: 'down', reason: /waits for 'db'/ }],
  ] as const) {
    const world = new World(t)
    const first = await world.supervise([onFail(policy), db])
    const { pid } = first.status('api')
    await first.supervisor.abandon()
    const [dbPid] = world.host.pidsOf('db')
    world.host.exit(dbPid ?? 0, { code: 1 })
    const next = await world.supervise([onFail(policy), db])
    await next.pass(50)
    t.match(next.status('api'), expected, policy)
    await next.pass(1_100)
    t.match(next.status('api'), { state: 'up', ready: true, reason: '' }, policy)
    t.equal(next.status('api').pid === pid, policy === 'keep', policy)
  }
})

t.test('what ends while a unit is being taken over is lost to all its slots', async (t) => {
  const held: string[] = []
  const statusOf = (unit: string, replica: number, state: InstanceStatus['state']): InstanceStatus =>
    ({
      unit,
      instance: `${unit}-${replica}`,
      replica,
      state,
      ready: state === 'up',
      want: 'up',
      pid: 1,
      reason: '',
    }) as InstanceStatus
  let dbStatus = statusOf('db', 0, 'up')
  const slots: DependantSlot[] = []
  const api = { spec: onFail('stop'), slots }
  const gate = new DependencyGate({
    clock: new SimClock(),
    log: memoryLog(),
    tasks: createTaskGroup(() => undefined),
    tell: () => '',
    read: async function* () {
      // Nobody waits for a line.
    },
    elsewhere: undefined,
    dependants: () => [api],
    statusesOf: (unit) => (unit === 'db' ? [dbStatus] : slots.map(({ status }) => status)),
  })
  await gate.begin(api, async () => {
    for (const replica of [0, 1]) {
      const nothing = (): void => undefined
      slots.push({
        status: statusOf('api', replica, 'up'),
        reconsider: nothing,
        hold: () => held.push(`api-${replica}`),
        renew: nothing,
        mark: nothing,
      })
      dbStatus = { ...statusOf('db', 0, 'down'), pid: undefined }
      gate.changed(dbStatus)
    }
  })
  t.same(held, ['api-0', 'api-1'])
})

t.test('what was well when no node ran is no loss before its probes are asked', async (t) => {
  const world = new World(t)
  const slowly: RunCommand = async (_argv, _options, signal) => {
    await world.clock.sleep(500, signal)
    return { exit: { code: 0 }, stdout: '' }
  }
  Object.assign(world.host, { run: slowly })
  const probed = unitSpec('db', { run, restart, probes: { ready: { exec: ['check'], every: '1s' } } })
  const first = await world.supervise([onFail('stop'), probed])
  await first.pass(2_500, 100)
  const { pid } = first.status('api')
  t.ok(pid)
  await first.supervisor.abandon()
  const next = await world.supervise([onFail('stop'), probed])
  await next.pass(3_000, 100)
  t.match(next.status('api'), { state: 'up', pid })
  t.notOk(next.typesOf('api').includes('dependency_lost'))
})

t.test('a stop because of a dependency goes on over a death of the node', async (t) => {
  const world = new World(t)
  world.host.play(({ unit }) => (unit === 'api' ? { ignores: ['SIGTERM'] } : {}))
  const api = unitSpec('api', { run, depends_on: { db: { on_fail: 'stop' } }, stop: { grace: '10s', drain: '0ms' } })
  const slow = unitSpec('db', { run, restart: { backoff: '1m..1m', jitter: '0%' } })
  const first = await world.supervise([api, slow])
  await first.crash('db')
  t.equal(first.status('api').state, 'stopping')
  await first.supervisor.abandon()
  const next = await world.supervise([api, slow])
  await next.pass(15_000, 100)
  t.match(next.status('api'), { state: 'down', reason: /^waits for 'db'/ })
  t.equal(world.host.spawned.filter(({ unit }) => unit === 'api').length, 1)
})

t.test('terms that change apply to what runs', async (t) => {
  const watched = await new World(t).supervise([unitSpec('api', { run }), db])
  await watched.supervisor.apply([onFail('stop'), db])
  await watched.crash('db')
  t.equal(watched.status('api').state, 'down')
})

t.test('a dependency that a new configuration drops is no loss', async (t) => {
  const watched = await new World(t).supervise([onFail('stop'), db])
  const { pid } = watched.status('api')
  await Promise.all([watched.supervisor.apply([unitSpec('api', { run })]), watched.pass(100)])
  t.match(watched.supervisor.status(), [{ unit: 'api', state: 'up', pid }])
})

/** Output in which lines appear when the test says so. */
function scriptedOutput() {
  const written = createTopic<LogLine>()
  const past: LogLine[] = []
  const readers = new Set<AbortSignal>()
  return {
    readers,
    write: (unit: string, instance: string, line: string): void => {
      const record = {
        wallMs: 0,
        unit,
        instance,
        replica: 0,
        stream: 'stdout' as const,
        seq: past.length,
        line: Buffer.from(line),
        pid: undefined,
        level: undefined,
        message: undefined,
      }
      past.push(record)
      written.publish(record)
    },
    output: {
      capture: () => ({ finish: async () => true, close: async () => undefined }),
      batches: async function* () {
        // Nothing is forwarded here.
      },
      query: async function* ({ units }: LogQuery, signal: AbortSignal): AsyncGenerator<LogLine, void, undefined> {
        let wake = (): void => undefined
        written.subscribe(() => wake())
        readers.add(signal)
        signal.addEventListener('abort', () => readers.delete(signal))
        for (let next = 0; ; next += 1) {
          while (next >= past.length && !signal.aborted) {
            await new Promise<void>((resolve) => {
              wake = resolve
              signal.addEventListener('abort', () => resolve())
            })
          }
          if (signal.aborted) return
          const line = past[next]
          if (line !== undefined && units.includes(line.unit)) yield line
        }
      },
      close: async () => undefined,
    },
  }
}

t.test('condition: log waits for a line of the instance that runs', async (t) => {
  const terms = { condition: 'log', line: 'ready to accept', on_fail: 'stop' } as const
  const { write, output, readers } = scriptedOutput()
  const api = unitSpec('api', { run, depends_on: { db: terms } })
  const watched = await new World(t).supervise([api, db], { output })
  const { instance } = watched.status('db')
  t.match(watched.status('api').reason, /^waits for 'db' to write a line like \/ready to accept\/; it is up/)
  write('db', 'db-0-other', 'ready to accept connections')
  write('db', instance, 'starting')
  await watched.pass(0)
  t.equal(watched.status('api').state, 'down')
  write('db', instance, 'ready to accept connections')
  await watched.pass(0)
  t.equal(watched.status('api').state, 'up')
  await watched.crash('db')
  t.equal(watched.status('api').state, 'down')
  await watched.pass(1_100)
  t.match(watched.states(), { db: 'up ready', api: 'down' }, 'the next instance has to say it again')
  await watched.crash('db')
  t.equal(readers.size, 0, 'nobody reads what one that has ended wrote')
  await watched.pass(1_100)
  write('db', watched.status('db').instance, 'now ready to accept')
  await watched.pass(0)
  t.equal(watched.status('api').state, 'up')
})

function meshOf(slots: Partial<AwaitedSlot>[]) {
  const changes = createTopic<undefined>()
  const asSlot = (slot: Partial<AwaitedSlot>): AwaitedSlot => {
    return { instance: 'x', state: 'up', ready: false, isRunning: true, isUnasked: false, text: 'up on b', ...slot }
  }
  return {
    slotsOf: (unit: string) => (unit === 'db' ? slots.map(asSlot) : []),
    changes,
    become: (...next: Partial<AwaitedSlot>[]): void => {
      slots = next
      changes.publish(undefined)
    },
  }
}

t.test('scope: mesh takes a unit of any node', async (t) => {
  const elsewhere = meshOf([])
  const api = unitSpec('api', { run, depends_on: { db: { scope: 'mesh', on_fail: 'stop' } } })
  const watched = await new World(t).supervise([api], { elsewhere })
  t.match(watched.status('api').reason, "waits for 'db' on any node to be healthy; no node has it")
  elsewhere.become({})
  t.match(watched.status('api').reason, 'it is up on b')
  elsewhere.become({ ready: true })
  await watched.pass(0)
  t.equal(watched.status('api').state, 'up')
  elsewhere.become({ instance: 'y', ready: true })
  await watched.pass(10)
  const taken = ['dependency_lost', 'stopping', 'exited', 'down', 'started', 'ready']
  t.same(watched.typesOf('api').slice(-6), taken, 'another one took its place')
  await watched.supervisor.apply([api, db])
  elsewhere.become()
  await watched.pass(10)
  t.equal(watched.status('api').state, 'up', 'one of this node is as good')
})

t.test('a node that ends or hands over does nothing to dependants', async (t) => {
  const elsewhere = meshOf([{ ready: true }])
  const api = unitSpec('api', { run, depends_on: { db: { scope: 'mesh', on_fail: 'stop' } } })
  const world = new World(t)
  const watched = await world.supervise([api], { elsewhere })
  const leaving = watched.supervisor.abandon()
  elsewhere.become()
  await leaving
  t.equal(world.host.pidsOf('api').length, 1)
})

t.test('a person who turns away from stopping all stops no more than was begun', async (t) => {
  const world = new World(t)
  world.host.play(({ unit }) => (unit === 'api' ? { ignores: ['SIGTERM'] } : {}))
  const api = unitSpec('api', { run, depends_on: ['db'], stop: { grace: '1s', drain: '0ms' } })
  const watched = await world.supervise([api, db])
  const turning = new AbortController()
  const stopping = watched.supervisor.stopAllUnits(turning.signal)
  await watched.pass(100)
  turning.abort(new Error('turned away'))
  await t.rejects(stopping, { message: 'turned away' })
  await watched.pass(2_000)
  t.match(watched.states(), { api: 'down', db: 'up ready' })
})

t.test('a circle is refused by its names', async (t) => {
  const watched = await new World(t).supervise([])
  const circle = [unitSpec('a', { run, depends_on: ['b'] }), unitSpec('b', { run, depends_on: ['a'] })]
  await throwsReason(t, 'CONFIG_INVALID', () => watched.supervisor.apply(circle))
})
