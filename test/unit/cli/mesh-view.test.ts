import t from 'tap'
import { HsuError } from '../../../src/base/error.ts'
import { ago } from '../../../src/cli/moment.ts'
import { PLAIN, styleFor } from '../../../src/cli/style.ts'
import { table } from '../../../src/cli/table.ts'
import { SimClock } from '../../../src/sim/sim-clock.ts'
import { until } from '../../support/until.ts'
import { type FakeClient, hsu, streamOf, unit, unitsOf } from './fake-world.ts'

t.test('tables', async (t) => {
  t.test('are aligned by what is seen, without trailing blanks', async (t) => {
    const columns = [
      { title: 'NAME', cell: (row: string) => row },
      { title: 'N', align: 'right' as const, cell: (row: string) => String(row.length) },
      { title: 'LAST', cell: () => '' },
    ]
    t.equal(table(['äöü', 'abcdefghij'], columns, PLAIN), 'NAME         N  LAST\näöü          3\nabcdefghij  10')
    const painted = [{ title: 'S', cell: (row: string) => `\u001B[32m${row}\u001B[39m` }, ...columns.slice(1)]
    t.match(table(['up', 'backoff'], painted, PLAIN), /up\u001B\[39m {7}2\n/)
  })

  t.test('colour needs a terminal that is not dumb, and no NO_COLOR', async (t) => {
    t.not(styleFor(true, {}), PLAIN)
    t.not(styleFor(true, { NO_COLOR: '' }), PLAIN)
    t.equal(styleFor(true, { NO_COLOR: '1' }), PLAIN)
    t.equal(styleFor(true, { TERM: 'dumb' }), PLAIN)
    t.equal(styleFor(false, {}), PLAIN)
  })

  t.test('times are relative', async (t) => {
    const now = 1_700_000_000_000
    const cases: [ageMs: number, text: string][] = [
      [0, 'now'],
      [-5_000, 'now'],
      [999, 'now'],
      [12_000, '12s ago'],
      [185_000, '3m ago'],
      [2 * 3_600_000 + 59 * 60_000, '2h ago'],
      [3 * 86_400_000, '3d ago'],
    ]
    for (const [ageMs, text] of cases) t.equal(ago(now - ageMs, now), text)
  })
})

t.test('hsu nodes', async (t) => {
  const self = {
    node: 'edge-a',
    id: '12D3a',
    status: 'alive',
    incarnation: 3n,
    addresses: ['10.0.0.1:9471'],
    labels: { os: 'linux', zone: 'hall-1' },
    version: '0.1.0',
    units: 2,
    self: true,
  }
  const dead = {
    node: 'edge-b',
    id: '12D3b',
    status: 'dead',
    incarnation: 1n,
    addresses: [],
    labels: {},
    version: '',
    units: 0,
    self: false,
  }
  const client = { listNodes: async () => ({ nodes: [self, dead] }) }

  t.strictSame(JSON.parse((await hsu('nodes -o json', { client })).stdout), [
    { ...self, incarnation: 3 },
    { ...dead, incarnation: 1 },
  ])
  t.equal(
    (await hsu('nodes', { client })).stdout,
    [
      'NODE     STATUS  UNITS  VERSION  ID     ADDRESSES      LABELS',
      'edge-a*  alive       2  0.1.0    12D3a  10.0.0.1:9471  os=linux zone=hall-1',
      'edge-b   dead        0  -        12D3b  -              -',
      '',
    ].join('\n'),
  )
})

t.test('hsu services', async (t) => {
  const endpoint = {
    unit: 'echo',
    instance: 'echo-0-3fa2b1',
    node: 'edge-a',
    address: '127.0.0.1:41000',
    ready: true,
    inFlight: 7,
  }
  const services = [
    { service: 'echo.v1.EchoService', endpoints: [endpoint] },
    { service: 'shop.v1.Orders', endpoints: [] },
  ]
  const client = { listServices: async () => ({ services }) }
  t.strictSame(JSON.parse((await hsu('services -o json', { client })).stdout), services)
  t.equal(
    (await hsu('services', { client })).stdout,
    [
      'SERVICE              UNIT  INSTANCE       NODE    READY  ADDRESS          IN FLIGHT',
      'echo.v1.EchoService  echo  echo-0-3fa2b1  edge-a  yes    127.0.0.1:41000          7',
      'shop.v1.Orders       -     -              -       no     -                        -',
      '',
    ].join('\n'),
  )
  t.equal((await hsu('services', { client: { listServices: async () => ({ services: [] }) } })).stdout, 'no services\n')

  const steps = [
    { services, removed: [] },
    { services: [], removed: ['shop.v1.Orders'] },
  ]
  const watching: FakeClient = { watchServices: () => streamOf(...steps) }
  const lines = (await hsu('services -f -o json', { client: watching })).stdout.trim().split('\n')
  t.strictSame(
    lines.map((line) => JSON.parse(line) as unknown),
    steps,
  )
  const { stdout } = await hsu('services -f', { client: watching })
  t.match(stdout, /^SERVICE[\s\S]*echo-0-3fa2b1[\s\S]*\nshop[.]v1[.]Orders is offered by nobody any more\n$/)
})

const time = { seconds: 1_700_000_000n, nanos: 1_000_000 }

t.test('hsu events', async (t) => {
  const event = {
    time,
    node: 'edge-a',
    unit: 'echo',
    instance: 'echo-0-3fa2b1',
    type: 'unit.exited',
    reason: 'exit code 3',
    details: { pid: '9' },
    cause: '',
    id: '1-2',
    causedBy: '1-1',
    actor: '',
  }
  const member = { ...event, unit: '', instance: '', type: 'member.dead', reason: '', details: {}, cause: 'no ping' }
  const client: FakeClient = { streamEvents: () => streamOf({ event }, {}, { event: member }) }

  t.test('prints one JSON object a line', async (t) => {
    const { stdout } = await hsu('events -o json', { client })
    const lines = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as unknown)
    const rfc3339 = '2023-11-14T22:13:20.001Z'
    t.strictSame(lines, [
      { ...event, time: rfc3339 },
      { ...member, time: rfc3339 },
    ])
  })

  t.test('prints one line each for people', async (t) => {
    const [first, second] = (await hsu('events', { client })).stdout.split('\n')
    t.match(first, /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d {2}edge-a {2}unit.exited echo-0-3fa2b1 {2}exit code 3 {2}pid=9$/)
    t.match(second, /edge-a {2}member.dead {2}\(no ping\)$/)
  })

  t.test('names the member that an event is about, and its id where the name is not enough', async (t) => {
    const about = (type: string, details: object, cause = '') => ({
      event: { ...member, type, reason: 'why', cause, details },
    })
    const both = { name: 'edge-b', nodeId: '12D3KooWb' }
    const events = [
      about('member.suspect', both, 'said by edge-c'),
      about('mesh.identity-conflict', both),
      about('mesh.refused', { name: '', nodeId: '12D3KooWb' }),
      about('mesh.key-given', { from: '10.0.0.5' }),
    ]
    const { stdout } = await hsu('events', { client: { streamEvents: () => streamOf(...events) } })
    t.same(
      stdout
        .trimEnd()
        .split('\n')
        .map((line) => line.replace(/^.*edge-a {2}/, '')),
      [
        'member.suspect edge-b  why  (said by edge-c)',
        'mesh.identity-conflict edge-b  why  nodeId=12D3KooWb',
        'mesh.refused 12D3KooWb  why',
        'mesh.key-given  why  from=10.0.0.5',
      ],
    )
  })

  t.test('asks for what was typed', async (t) => {
    const requestOf = async (line: string) => (await hsu(line, { client })).asked[0]
    t.strictSame((await requestOf('events'))?.request, { units: [], types: [], follow: false, scope: 2 })
    t.strictSame((await requestOf('events -f'))?.request, { units: [], types: [], follow: true, scope: 2, tail: 10 })
    t.strictSame((await requestOf('events -f -n 0 echo'))?.request, {
      units: ['echo'],
      types: [],
      follow: true,
      scope: 2,
      tail: 0,
    })
    t.strictSame((await requestOf('events -f --since 10s'))?.request, {
      units: [],
      types: [],
      follow: true,
      scope: 2,
      since: { seconds: 1_699_999_990n, nanos: 0 },
    })
    t.match(await requestOf('events api --unit echo --type unit.exited --type node.*'), {
      request: { units: ['api', 'echo'], types: ['unit.exited', 'node.*'] },
    })
    t.match(await requestOf('events echo@edge-b'), {
      request: { units: ['echo'], scope: 1 },
      options: { metadata: { 'hsu-node': 'edge-b' }, timeoutMs: undefined },
    })
    t.match(await requestOf('events --since 2023-11-14T22:13:20Z'), { request: { since: { seconds: 1_700_000_000n } } })
    for (const wrong of [
      'events --since yesterday',
      'events -n many',
      'events -n -1',
      'events a@x b@y',
      'events a b@y',
    ]) {
      t.match(await hsu(wrong, { client }), { code: 2, asked: [] }, wrong)
    }
  })
})

t.test('hsu logs', async (t) => {
  const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
  const line = {
    time,
    node: 'edge-a',
    unit: 'echo',
    instance: 'echo-0-3fa2b1',
    stream: 'stdout',
    seq: 12n,
    line: bytes('hällo {"a":1}'),
    level: '',
    replica: 0,
    pid: 0,
  }
  const odd = { stream: 'stderr', seq: 13n, line: Uint8Array.of(0xff, 0x41), level: 'warn', message: 'odd', pid: 7 }
  const worker = { ...line, ...odd, instance: '', unit: 'w', replica: 2 }
  const client: FakeClient = { streamLogs: () => streamOf({ line }, { line: worker }) }

  t.test('prints one JSON object a line', async (t) => {
    const lines = (await hsu('logs -o json', { client })).stdout.trimEnd().split('\n')
    t.strictSame(JSON.parse(lines[0] ?? ''), {
      time: '2023-11-14T22:13:20.001Z',
      node: 'edge-a',
      unit: 'echo',
      instance: 'echo-0-3fa2b1',
      stream: 'stdout',
      seq: 12,
      line: 'hällo {"a":1}',
      replica: 0,
      pid: null,
      level: null,
      message: null,
    })
    t.match(JSON.parse(lines[1] ?? ''), { unit: 'w', stream: 'stderr', line: '\uFFFDA', replica: 2, pid: 7 })
    t.match(JSON.parse(lines[1] ?? ''), { level: 'warn', message: 'odd' })
  })

  t.test('what a unit writes does not command the terminal of a person; colours stay', async (t) => {
    const rude = { ...line, line: bytes('\x1b]0;owned\x07\x1b[2J\x1b[31mred\x1b[0m\tä') }
    const streamLogs = () => streamOf({ line: rude })
    const shown = (await hsu('logs', { client: { streamLogs }, world: { isTty: true, env: { NO_COLOR: '1' } } })).stdout
    t.ok(shown.endsWith('| \\x1b]0;owned\\x07\\x1b[2J\x1b[31mred\x1b[0m\tä\n'), JSON.stringify(shown))
    t.ok((await hsu('logs', { client: { streamLogs } })).stdout.includes('\x1b[2J'), 'a pipe gets it as it is')
  })

  t.test('prints lines byte for byte behind their instance and stream', async (t) => {
    const written: Uint8Array[] = []
    const stdout = async (chunk: string | Uint8Array): Promise<void> => void written.push(Buffer.from(chunk))
    await hsu('logs', { client, world: { stdout } })
    t.same(Buffer.from(written[0] ?? []).toString(), 'echo-0-3fa2b1@edge-a | hällo {"a":1}\n')
    t.same(
      Buffer.from(written[1] ?? []),
      Buffer.concat([Buffer.from(`${'w@edge-a'.padEnd(20)} ! `), Buffer.of(0xff, 0x41, 10)]),
    )
  })

  t.test('asks for what was typed', async (t) => {
    const { asked } = await hsu(['logs', '-n', '5', '--stream', 'stderr', '-g', 'a b', 'echo'], { client })
    t.strictSame(asked[0]?.request, {
      units: ['echo'],
      follow: false,
      scope: 2,
      stream: 'stderr',
      grep: 'a b',
      level: '',
      after: [],
      tail: 5,
    })
    const more = await hsu('logs --level warn --until 10s --after a-0-1f@edge-b:7 --after b-1-2c:0', { client })
    t.match(more.asked[0]?.request, {
      level: 'warn',
      until: { seconds: 1_699_999_990n },
      after: [
        { instance: 'a-0-1f', node: 'edge-b', seq: 7n },
        { instance: 'b-1-2c', node: '', seq: 0n },
      ],
    })
    for (const wrong of ['logs --level loud', 'logs -f --until 5m', 'logs --after api', 'logs --after a-0-1f@:7']) {
      t.match(await hsu(wrong, { client }), { code: 2, asked: [] }, wrong)
    }
    const { asked: there } = await hsu('logs -f --node edge-b', { client })
    t.match(there[0], {
      request: { scope: 1, follow: true, tail: 10 },
      options: { metadata: { 'hsu-node': 'edge-b' } },
    })
  })

  t.test('a stream that breaks exits with its reason, after what had come', async (t) => {
    const streamLogs = async function* () {
      yield { line }
      throw new HsuError('NODE_UNREACHABLE', 'node edge-b went away')
    }
    t.match(await hsu('logs', { client: { streamLogs } }), {
      code: 5,
      stdout: /hällo/,
      stderr: /^hsu: node edge-b went away; /,
    })
  })

  t.test('a follower goes on behind what it saw when the node comes back', async (t) => {
    const clock = new SimClock()
    let tries = 0
    const streamLogs = async function* () {
      tries += 1
      if (tries === 2) throw new HsuError('NOT_STARTED', 'no node')
      yield { line: { ...line, seq: BigInt(tries) } }
      if (tries === 1) throw new HsuError('NODE_UNREACHABLE', 'the node went away')
    }
    const ending = hsu('logs -f echo --after echo-1-aa:3', { client: { streamLogs }, world: { clock } })
    await until('the third try', async () => {
      await clock.advance(100)
      return tries === 3
    })
    const { code, stdout, stderr, asked } = await ending
    t.equal(code, 0)
    t.equal(stdout.match(/hällo/g)?.length, 2)
    t.equal(stderr, 'hsu: the node went away; waiting for it\n')
    t.match(asked[0]?.request, { tail: 10, after: [{ instance: 'echo-1-aa', node: '', seq: 3n }] })
    t.match(asked[2]?.request, {
      tail: undefined,
      since: { seconds: 1_700_000_000n },
      after: [
        { instance: 'echo-1-aa', node: '', seq: 3n },
        { instance: 'echo-0-3fa2b1', node: 'edge-a', seq: 1n },
      ],
    })
  })

  t.test('a follower that never saw a line, or waited a minute, gives up', async (t) => {
    const gone = async function* () {
      yield* []
      throw new HsuError('NOT_STARTED', 'no node')
    }
    t.match(await hsu('logs -f', { client: { streamLogs: gone } }), { code: 3, asked: { length: 1 } })
    const clock = new SimClock()
    let tries = 0
    const streamLogs = async function* () {
      tries += 1
      if (tries === 1) yield { line }
      throw new HsuError('NODE_UNREACHABLE', 'the node went away')
    }
    let over = false
    const ending = hsu('logs -f', { client: { streamLogs }, world: { clock } }).finally(() => (over = true))
    await until('its end', async () => {
      await clock.advance(1_000)
      return over
    })
    t.equal((await ending).code, 5)
    t.ok(clock.nowMs() >= 60_000 && clock.nowMs() < 70_000)
  })
})

t.test('hsu why', async (t) => {
  const event = { time, node: 'edge-a', unit: 'echo', type: 'unit.exited', reason: 'exited with code 3', details: {} }
  const instance = unit({ state: 'backoff', ready: false })
  const links = [
    { text: 'restart in 1s', event: { ...event, type: 'unit.backoff' } },
    { text: '', event: { ...event, type: 'unit.stopping' } },
    { text: 'exited with code 3', event },
    { text: 'the disk is full' },
  ]
  const client: FakeClient = {
    listUnits: unitsOf('edge-a', [instance]),
    whyUnit: async () => ({ instances: [{ instance, links, sentence: 'backoff because ...' }] }),
  }

  t.test('tells the chain, one cause a line', async (t) => {
    const lines = (await hsu('why echo', { client })).stdout.split('\n')
    t.match(lines, [
      'echo-0@edge-a is backoff',
      /^ {2}because restart in 1s {2}\d{4}-/,
      /^ {2}because exited with code 3 {2}\d{4}-/,
      '  because the disk is full',
      '',
    ])
  })

  t.test('prints each link with its event as JSON', async (t) => {
    const [shape] = JSON.parse((await hsu('why echo -o json', { client })).stdout) as [{ because: unknown[] }]
    t.match(shape, { unit: 'echo', replica: 0, node: 'edge-a', state: 'backoff', sentence: 'backoff because ...' })
    t.match(shape.because[2], { text: 'exited with code 3', event: { type: 'unit.exited', time: /^2023-/ } })
    t.strictSame(shape.because[3], { text: 'the disk is full', event: null })
  })
})

t.test('whoever changes something is named to the node, and only then', async (t) => {
  const metadataOf = async (line: string) => {
    const client: FakeClient = {
      listUnits: unitsOf('edge-a', [unit()]),
      restartUnit: async () => ({ instances: [] }),
      describeUnit: async () => ({ instances: [], configJson: '', events: [] }),
    }
    return (await hsu(line, { client })).asked.map(({ method, options }) => [method, options.metadata])
  }
  const actor = encodeURIComponent('anna (uid 1000) from the command line')
  t.same(await metadataOf('restart echo'), [
    ['listUnits', undefined],
    ['restartUnit', { 'hsu-actor': actor }],
  ])
  t.same(await metadataOf('restart echo@edge-b'), [['restartUnit', { 'hsu-node': 'edge-b', 'hsu-actor': actor }]])
  t.same((await metadataOf('describe echo')).at(-1), ['describeUnit', undefined])
})
