import t from 'tap'
import { HsuError } from '../../../src/base/error.ts'
import { parseUnitName } from '../../../src/cli/target.ts'
import { UnitKind } from '../../../src/rpc/gen/hsu/control/v1/control_pb.ts'
import { throwsReason } from '../../support/throws-reason.ts'
import { type FakeClient, hsu, unit, unitsOf } from './fake-world.ts'

const NODE_HEADER = 'hsu-node'

/** Requests of an action, each with the node it was sent to. */
function sentTo(asked: Awaited<ReturnType<typeof hsu>>['asked'], method: string): [request: unknown, node: string][] {
  return asked
    .filter((call) => call.method === method)
    .map(({ request, options }) => [request, options.metadata?.[NODE_HEADER] ?? 'here'])
}

const answering =
  (...instances: ReturnType<typeof unit>[]) =>
  async () => ({ instances, stopped: [] })

t.test('hsu ps', async (t) => {
  const full = unit({
    replica: 1,
    startedAt: { seconds: 1_700_000_000n, nanos: 250_000_000 },
    restarts: 2,
    cpu: 0.125,
    rssBytes: 67_108_864n,
    services: ['echo.v1.EchoService'],
    ports: { grpc: 41_000 },
    exit: { how: { case: 'signal', value: 'SIGKILL' } },
    reason: 'killed',
    want: 'up',
    retryAt: { seconds: 1_700_000_060n, nanos: 0 },
    limits: [
      { resource: 'memory', value: 67_108_864, mode: 'enforced', by: 'cgroup v2 memory', used: 1_048_576 },
      { resource: 'files', value: 100, mode: 'enforced', by: 'rlimit nofile' },
    ],
    job: { run: '7f3a0001', schedule: '0 2 * * *', nextRunAt: { seconds: 1_700_013_600n, nanos: 0 } },
  })
  const down = unit({
    unit: 'batch',
    instance: '',
    node: 'edge-b',
    kind: UnitKind.MANAGED,
    state: 'completed',
    ready: false,
    pid: 0,
    exit: { how: { case: 'code', value: 0 } },
  })
  const absent = unit({ unit: 'db', instance: '', kind: UnitKind.UNMANAGED, state: 'absent', ready: false, pid: 0 })

  t.test('prints exactly the documented shape, sorted', async (t) => {
    const { stdout, code } = await hsu('ps -o json', { client: { listUnits: unitsOf('edge-a', [full, absent, down]) } })
    t.equal(code, 0)
    const empty = {
      instance: '',
      replica: 0,
      ready: false,
      pid: null,
      startedAt: null,
      restarts: 0,
      cpu: 0,
      rssBytes: 0,
      run: '',
      schedule: '',
      nextRun: null,
    }
    t.strictSame(JSON.parse(stdout), [
      {
        ...empty,
        unit: 'batch',
        node: 'edge-b',
        kind: 'managed',
        state: 'completed',
        services: [],
        ports: {},
        exit: { code: 0 },
        reason: '',
        want: '',
        retryAt: null,
        limits: [],
        health: null,
        origin: null,
      },
      {
        ...empty,
        unit: 'db',
        node: 'edge-a',
        kind: 'unmanaged',
        state: 'absent',
        services: [],
        ports: {},
        exit: null,
        reason: '',
        want: '',
        retryAt: null,
        limits: [],
        health: null,
        origin: null,
      },
      {
        unit: 'echo',
        instance: 'echo-0-3fa2b1',
        replica: 1,
        node: 'edge-a',
        kind: 'integrated',
        state: 'up',
        ready: true,
        pid: 4711,
        startedAt: '2023-11-14T22:13:20.250Z',
        restarts: 2,
        cpu: 0.125,
        rssBytes: 67_108_864,
        services: ['echo.v1.EchoService'],
        ports: { grpc: 41_000 },
        exit: { signal: 'SIGKILL' },
        reason: 'killed',
        want: 'up',
        retryAt: '2023-11-14T22:14:20.000Z',
        limits: [
          { resource: 'memory', value: 67_108_864, mode: 'enforced', by: 'cgroup v2 memory', used: 1_048_576 },
          { resource: 'files', value: 100, mode: 'enforced', by: 'rlimit nofile', used: null },
        ],
        run: '7f3a0001',
        schedule: '0 2 * * *',
        nextRun: '2023-11-15T02:00:00.000Z',
        health: null,
        origin: null,
      },
    ])
  })

  t.test('prints an aligned table for people', async (t) => {
    const recent = unit({
      startedAt: { seconds: 1_700_000_000n - 185n, nanos: 0 },
      rssBytes: 1_048_576n,
      ports: { grpc: 4 },
    })
    const { stdout } = await hsu('ps', { client: { listUnits: unitsOf('edge-a', [recent, down]) } })
    t.equal(
      stdout,
      [
        'UNIT   REPLICA  NODE    KIND        STATE      READY   PID  STARTED  RESTARTS   CPU     RSS  PORTS   WHY',
        'batch        0  edge-b  managed     completed  no        -  -               0     -       -  -       exit code 0',
        'echo         0  edge-a  integrated  up         yes    4711  3m ago          0  0.00  1.0MiB  grpc:4',
        '',
      ].join('\n'),
    )
    t.equal((await hsu('ps', { client: { listUnits: unitsOf('edge-a', []) } })).stdout, 'no units\n')
    t.equal((await hsu('ps -o json', { client: { listUnits: unitsOf('edge-a', []) } })).stdout, '[]\n')
  })

  t.test('asks the mesh, or the one node that was named', async (t) => {
    const client = { listUnits: unitsOf('edge-a', [full, down]) }
    t.match((await hsu('ps', { client })).asked, [{ request: { scope: 2, units: [] }, options: { timeoutMs: 10_000 } }])
    const { asked } = await hsu('ps --node edge-b --timeout 3s', { client })
    t.match(asked, [{ request: { scope: 1 }, options: { timeoutMs: 3_000, metadata: { [NODE_HEADER]: 'edge-b' } } }])
  })

  t.test('shows the units that were asked for; one that is not there exits 4', async (t) => {
    const client = { listUnits: unitsOf('edge-a', [full, down, unit({ node: 'edge-b' })]) }
    const rows = async (line: string) =>
      JSON.parse((await hsu(`${line} -o json`, { client })).stdout) as { node: string }[]
    t.same(
      (await rows('ps echo')).map(({ node }) => node),
      ['edge-a', 'edge-b'],
    )
    t.same(
      (await rows('ps echo@edge-b')).map(({ node }) => node),
      ['edge-b'],
    )
    t.match(await hsu('ps nothing', { client }), { code: 4, stderr: /^hsu: no unit 'nothing' in the mesh; / })
    t.match(await hsu('ps echo@edge-c', { client }), { code: 4, stderr: /no unit 'echo' on node edge-c/ })
  })

  t.test('says which nodes did not answer, on stderr only', async (t) => {
    const { code, stdout, stderr } = await hsu('ps -o json', {
      client: { listUnits: unitsOf('edge-a', [down], ['edge-c']) },
    })
    t.equal(code, 0)
    t.equal((JSON.parse(stdout) as unknown[]).length, 1)
    t.equal(stderr, 'hsu: no answer from node edge-c; its units are missing here\n')
  })
})

t.test('unit@node', async (t) => {
  t.same(parseUnitName('echo', undefined), { unit: 'echo', node: undefined })
  t.same(parseUnitName('echo', 'edge-b'), { unit: 'echo', node: 'edge-b' })
  t.same(parseUnitName('echo@edge-a', 'edge-b'), { unit: 'echo', node: 'edge-a' })
  for (const text of ['', '@a', 'a@']) await throwsReason(t, 'USAGE', () => parseUnitName(text, undefined))
})

t.test('an action finds its unit', async (t) => {
  const here = unit()
  const there = unit({ unit: 'batch', node: 'edge-b' })
  const third = unit({ unit: 'batch', node: 'edge-c' })
  const clientWith = (...units: ReturnType<typeof unit>[]): FakeClient => ({
    listUnits: unitsOf('edge-a', units),
    restartUnit: answering(here),
  })

  t.test('on the node that is named, without looking', async (t) => {
    const { asked } = await hsu('restart echo@edge-z', { client: clientWith() })
    t.same(sentTo(asked, 'restartUnit'), [[{ unit: 'echo' }, 'edge-z']])
    t.equal(asked.length, 1)
    const { asked: byOption } = await hsu('restart echo --node edge-y', { client: clientWith() })
    t.same(sentTo(byOption, 'restartUnit'), [[{ unit: 'echo' }, 'edge-y']])
  })

  t.test('on this host first, even when others have one of the same name', async (t) => {
    const { asked } = await hsu('restart echo', { client: clientWith(here, unit({ node: 'edge-b' })) })
    t.same(sentTo(asked, 'restartUnit'), [[{ unit: 'echo' }, 'here']])
  })

  t.test('on the one other node that has it', async (t) => {
    const { asked, stderr } = await hsu('restart batch', { client: clientWith(here, there, there) })
    t.same(sentTo(asked, 'restartUnit'), [[{ unit: 'batch' }, 'edge-b']])
    t.equal(stderr, '')
  })

  t.test('on all other nodes that have it, and says which', async (t) => {
    const { asked, stderr } = await hsu('restart batch', { client: clientWith(here, third, there) })
    t.same(sentTo(asked, 'restartUnit'), [
      [{ unit: 'batch' }, 'edge-b'],
      [{ unit: 'batch' }, 'edge-c'],
    ])
    t.equal(stderr, 'batch is on 2 nodes: edge-b, edge-c\n')
  })

  t.test('nowhere: the node on this host says so', async (t) => {
    const client = {
      listUnits: unitsOf('edge-a', []),
      restartUnit: async () => {
        throw new HsuError('UNIT_NOT_FOUND', "unit 'nix' is not known here")
      },
    }
    t.match(await hsu('restart nix', { client }), {
      code: 4,
      stderr: "hsu: unit 'nix' is not known here; `hsu ps` lists the units of the whole mesh\n",
    })
  })
})

t.test('actions', async (t) => {
  const client: FakeClient = {
    listUnits: unitsOf('edge-a', [unit(), unit({ unit: 'batch' })]),
    startUnit: answering(unit({ state: 'starting', ready: false })),
    stopUnit: answering(unit({ state: 'down', ready: false, pid: 0, reason: 'stopped by hand' })),
    killUnit: answering(unit({ state: 'backoff', ready: false, pid: 0 })),
    restartUnit: answering(unit({ ready: false })),
    signalUnit: answering(unit()),
    scaleUnit: answering(unit(), unit({ replica: 1, instance: 'echo-1-b0b0b0' })),
    waitUnit: answering(unit()),
  }

  t.test('say what became of the instances', async (t) => {
    const lines = async (line: string): Promise<string> => (await hsu(line, { client })).stdout
    t.equal(await lines('start echo'), 'echo-0-3fa2b1@edge-a is starting, pid 4711\n')
    t.equal(await lines('stop echo'), 'echo-0-3fa2b1@edge-a is down, stopped by hand\n')
    t.equal(await lines('kill echo'), 'echo-0-3fa2b1@edge-a is backoff\n')
    t.equal(await lines('restart echo'), 'echo-0-3fa2b1@edge-a is up, not ready, pid 4711\n')
    const shapes = JSON.parse(await lines('start echo -o json')) as { unit: string; state: string }[]
    t.match(shapes, [{ unit: 'echo', state: 'starting', pid: 4711 }])
  })

  t.test('stop tells how each instance ended and how long that took, of named units and of all', async (t) => {
    const down = { state: 'down', ready: false, pid: 0, reason: 'stopped' } as const
    const stopped = [
      {
        unit: 'echo',
        instance: 'echo-0-3fa2b1',
        exit: { how: { case: 'code', value: 0 } },
        took: { seconds: 1n, nanos: 2e8 },
      },
    ]
    const answer = async () => ({
      instances: [
        unit({ ...down, exit: { how: { case: 'code', value: 0 } } }),
        unit({ ...down, unit: 'batch', instance: 'batch-0-1' }),
      ],
      stopped,
    })
    const stopping: FakeClient = { ...client, stopUnit: answer, stopAllUnits: answer }
    const { stdout, asked } = await hsu('stop --all', { client: stopping })
    t.same(sentTo(asked, 'stopAllUnits'), [[{}, 'here']])
    t.equal(
      stdout,
      'batch-0-1@edge-a is down, stopped\necho-0-3fa2b1@edge-a is down, stopped, exited with code 0 after 1s\n',
    )
    const shapes = JSON.parse((await hsu('stop echo -o json', { client: stopping })).stdout) as object[]
    t.match(shapes, [
      { unit: 'batch', tookMs: null },
      { unit: 'echo', tookMs: 1_200, state: 'down' },
    ])
    t.match(await hsu('stop --all echo', { client: stopping }), { code: 2, asked: [] })
    t.match(await hsu('stop', { client: stopping }), { code: 2, asked: [] })
  })

  t.test('pass on what was typed', async (t) => {
    const { asked } = await hsu('signal HUP echo batch', { client })
    t.same(
      sentTo(asked, 'signalUnit').map(([request]) => request),
      [
        { unit: 'echo', signal: 'HUP' },
        { unit: 'batch', signal: 'HUP' },
      ],
    )
    const scaled = await hsu('scale echo=2 batch@edge-b=0', { client })
    t.same(sentTo(scaled.asked, 'scaleUnit'), [
      [{ unit: 'echo', replicas: 2 }, 'here'],
      [{ unit: 'batch', replicas: 0 }, 'edge-b'],
    ])
    for (const wrong of ['echo', 'echo=', 'echo=two', 'echo=-1', '=1', 'echo=1.5']) {
      t.match(await hsu(['scale', wrong], { client }), { code: 2, asked: [] }, wrong)
    }
  })

  t.test('go on when one unit fails; the first failure decides the exit code, each is told', async (t) => {
    const failing: FakeClient = {
      ...client,
      listUnits: unitsOf('edge-a', [unit(), unit({ unit: 'a' }), unit({ unit: 'b' })]),
      stopUnit: async ({ unit: name }: { unit: string }) => {
        if (name === 'a') throw new HsuError('UNIT_NOT_MANAGED', 'it is unmanaged')
        if (name === 'b') throw new HsuError('TIMED_OUT', "unit 'b' still runs")
        return { instances: [unit({ state: 'down', pid: 0 })], stopped: [] }
      },
    }
    const { code, stdout, stderr } = await hsu('stop a echo b', { client: failing })
    t.equal(code, 1)
    t.match(stdout, 'echo-0-3fa2b1@edge-a is down')
    t.equal(stderr, "hsu: unit 'b' still runs; allow more time with --timeout\nhsu: a: it is unmanaged\n")
  })

  t.test('wait gives the node the time, and the call a little more', async (t) => {
    const { asked, code } = await hsu('wait echo --for completed --timeout 1500ms', { client })
    t.equal(code, 0)
    t.match(asked.at(-1), {
      request: { unit: 'echo', condition: 'completed', timeout: { seconds: 1n, nanos: 500_000_000 } },
      options: { timeoutMs: 6_500 },
    })
    t.match((await hsu('wait echo', { client })).asked.at(-1), {
      request: { condition: 'ready', timeout: { seconds: 60n } },
    })
  })

  t.test('wait exits by what it was told', async (t) => {
    for (const [reason, code] of [
      ['TIMED_OUT', 124],
      ['UNIT_FAILED', 3],
      ['UNIT_NOT_FOUND', 4],
    ] as const) {
      const waitUnit = async (): Promise<never> => {
        throw new HsuError(reason, 'unit echo is not ready')
      }
      t.match(await hsu('wait echo', { client: { ...client, waitUnit } }), { code }, reason)
    }
  })
})

t.test('hsu describe shows a unit on each node that has it', async (t) => {
  const event = {
    time: { seconds: 1_700_000_000n, nanos: 0 },
    node: 'edge-a',
    unit: 'echo',
    instance: 'echo-0-3fa2b1',
    type: 'unit.exited',
    reason: 'exit code 3',
    details: { pid: '9' },
    cause: 'probe',
  }
  const describeUnit = async () => ({
    instances: [unit({ services: ['echo.v1.EchoService'] })],
    configJson: '{"run":["x"]}',
    events: [event],
  })
  const client: FakeClient = { listUnits: unitsOf('edge-a', [unit()]), describeUnit }
  const { stdout } = await hsu('describe echo -o json', { client })
  t.match(JSON.parse(stdout), [
    {
      unit: 'echo',
      instances: [{ unit: 'echo', pid: 4711 }],
      config: { run: ['x'] },
      events: [{ time: '2023-11-14T22:13:20.000Z', type: 'unit.exited' }],
    },
  ])
  const { stdout: text } = await hsu('describe echo', { client })
  t.match(text, /^echo\n {2}UNIT [^]*\nservices\n {2}echo.v1.EchoService\n\nconfig\n {2}\{\n {4}"run": /)
  t.match(text, /edge-a {2}unit.exited echo-0-3fa2b1 {2}exit code 3 {2}pid=9 {2}\(probe\)\n$/)
  const both: FakeClient = { listUnits: unitsOf('edge-a', [unit({ node: 'b' }), unit({ node: 'c' })]), describeUnit }
  t.same(
    sentTo((await hsu('describe echo', { client: both })).asked, 'describeUnit').map(([, node]) => node),
    ['b', 'c'],
  )
})
