import t from 'tap'
import { clip } from '../../../src/cli/clip.ts'
import { PLAIN, styleFor } from '../../../src/cli/style.ts'
import type { Terminal } from '../../../src/cli/terminal.ts'
import { FIRST_STATE, press, topScreen, type TopState } from '../../../src/cli/top-view.ts'
import type { TopShape, UnitUsageShape } from '../../../src/cli/usage-shapes.ts'
import { SimClock } from '../../../src/sim/sim-clock.ts'
import { type FakeClient, hsu, streamOf, unit, unitsOf } from './fake-world.ts'

const USAGE = {
  cpu: 0.25,
  cpuSeconds: 12,
  rssBytes: 67_108_864,
  pssBytes: null,
  virtualBytes: 2 ** 30,
  processes: 2,
  threads: 5,
  files: 9,
  ioReadBytes: 1_000,
  ioWriteBytes: null,
}

const row = (name: string, given: Partial<UnitUsageShape['usage'] & object> = {}): UnitUsageShape => ({
  unit: name,
  instance: `${name}-0-a`,
  replica: 0,
  node: 'edge-a',
  kind: 'managed',
  state: 'up',
  ready: true,
  pid: 7,
  startedAt: '1970-01-01T00:00:00.000Z',
  restarts: 0,
  cpu: 0,
  rssBytes: 0,
  services: [],
  ports: {},
  exit: null,
  reason: '',
  want: 'up',
  retryAt: null,
  limits: [],
  run: '',
  schedule: '',
  nextRun: null,
  health: null,
  origin: null,
  usage: { ...USAGE, ...given },
})

const top = (units: readonly UnitUsageShape[], time = '1970-01-01T01:00:00.000Z'): TopShape => ({
  time,
  nodes: [{ node: 'edge-a', startedAt: '1970-01-01T00:00:00.000Z', usage: USAGE }],
  units,
  calls: [],
  unreachable: [],
})

const SCREEN = { columns: 120, rows: 24 }

function firstCells(screen: readonly string[]): string[] {
  const titles = screen.findIndex((line) => line.startsWith('UNIT'))
  return screen
    .slice(titles + 1)
    .map((line) => line.split(/\s/)[0] ?? '')
    .filter((cell) => cell.includes('/0'))
}

t.test('the screen of hsu top', async (t) => {
  const units = [
    row('idle', { cpu: 0, threads: 50 }),
    row('busy', { cpu: 1.5 }),
    row('big', { cpu: 0.1, rssBytes: 9e9 }),
  ]
  const show = (state: TopState, size = SCREEN, now = top(units), before?: TopShape): readonly string[] =>
    topScreen({ now, before, fault: '' }, state, size, PLAIN)
  const after = (...keys: string[]): TopState =>
    keys.reduce<TopState>((state, key) => press(state, key) as TopState, FIRST_STATE)

  t.test('shows the busiest first, or as the person wants it', async (t) => {
    t.same(firstCells(show(FIRST_STATE)), ['busy/0', 'big/0', 'idle/0'])
    t.same(firstCells(show(after('m'))), ['big/0', 'busy/0', 'idle/0'])
    t.same(firstCells(show(after('t'))), ['idle/0', 'big/0', 'busy/0'])
    t.same(firstCells(show(after('n'))), ['big/0', 'busy/0', 'idle/0'])
    t.same(firstCells(show(after('n', 'r'))), ['idle/0', 'busy/0', 'big/0'])
    t.same(after('x'), FIRST_STATE)
    t.same([press(FIRST_STATE, 'q'), press(FIRST_STATE, '\u0003')], ['quit', 'quit'])
  })

  t.test('has CPU in percent of a core, and a dash for what is not known', async (t) => {
    const line = show(FIRST_STATE).find((line) => line.startsWith('busy/0')) ?? ''
    t.match(line.split(/\s{2,}/), [
      'busy/0',
      'edge-a',
      'up',
      '7',
      '1h',
      '150.0',
      '64.0MiB',
      '-',
      '1.0GiB',
      '2',
      '5',
      '9',
    ])
  })

  t.test('has rates once there are two looks', async (t) => {
    const later = top([row('busy', { ioReadBytes: 21_480 })], '1970-01-01T01:00:02.000Z')
    t.match(
      show(FIRST_STATE, SCREEN, later, top(units)).find((line) => line.startsWith('busy/0')),
      /10\.0KiB +-$/,
    )
    const others = top([row('busy', { ioReadBytes: 0 }), row('calm', { ioReadBytes: 20_480 })])
    t.match(
      show(FIRST_STATE, SCREEN, later, others).find((line) => line.startsWith('busy/0')),
      /10\.5KiB +-$/,
      'of its own last look, not of the other unit',
    )
    t.match(
      show(FIRST_STATE, SCREEN, later).find((line) => line.startsWith('busy/0')),
      /- +-$/,
    )
  })

  t.test('fits every size of a screen, and scrolls no further than its end', async (t) => {
    const many = top(Array.from({ length: 50 }, (_, n) => row(`u${String(n).padStart(2, '0')}`)))
    for (const rows of [1, 3, 5, 10, 24, 100]) {
      for (const columns of [1, 20, 200]) {
        const screen = show(after('n', ...Array.from({ length: 99 }, () => 'j')), { columns, rows }, many)
        t.equal(screen.length, rows)
        t.ok(screen.every((line) => line.length <= columns))
      }
    }
    const last = firstCells(show(after('n', ...Array.from({ length: 99 }, () => 'j')), SCREEN, many))
    t.equal(last.at(-1), 'u49/0')
    t.equal(firstCells(show(after('n', 'j', 'j', 'k'), SCREEN, many))[0], 'u01/0')
  })

  t.test('a colour that was begun is ended, however narrow the screen', async (t) => {
    const style = styleFor(true, {})
    t.equal(clip(style.good('abcdef'), 3), style.good('abc'))
    t.equal(clip('äöü€', 3), 'äöü')
  })
})

const UNITS = [
  unit({
    usage: { cpu: 0.25, cpuSeconds: 12, rssBytes: 67_108_864n, processes: 2, threads: 5, ioReadBytes: 1_000n },
  }),
  unit({ unit: 'db', instance: '', state: 'down', pid: 0 }),
]

const client: FakeClient = {
  listUnits: unitsOf('edge-a', UNITS, ['edge-b']),
  getCalls: async () => ({ calls: [], unreachable: [] }),
  getUsage: async () => ({
    nodes: [{ node: 'edge-a', usage: { cpu: 0.01, cpuSeconds: 1, rssBytes: 1n, processes: 1 } }],
    unreachable: ['edge-b'],
  }),
}

t.test('hsu top without a terminal', async (t) => {
  t.test('prints once', async (t) => {
    const { code, stdout } = await hsu('top', { client })
    t.equal(code, 0)
    t.match(stdout, /2 instances, 1 up/)
    t.match(stdout, /node edge-b: no answer/)
    t.match(stdout, /^echo\/0 +edge-a +up +4711 .* 25\.0 +64\.0MiB/m)
    t.notMatch(stdout, /\u001B/)
  })

  t.test('prints JSON with nothing besides', async (t) => {
    const { stdout } = await hsu('top --once -o json', { client })
    const { units, nodes, unreachable } = JSON.parse(stdout) as TopShape
    t.match(units, [
      { unit: 'echo', usage: { cpu: 0.25, threads: 5, files: null, pssBytes: null, ioReadBytes: 1_000 } },
      { unit: 'db', usage: null },
    ])
    t.match(nodes, [{ node: 'edge-a', usage: { rssBytes: 1 } }])
    t.same(unreachable, ['edge-b'])
  })

  t.test('prints as often as it is told, a line of JSON each', async (t) => {
    const clock = new SimClock()
    const done = hsu('top -n 3 -d 1s -o json', { client, world: { clock } })
    await clock.advance(5_000)
    const { stdout } = await done
    t.equal(stdout.trim().split('\n').length, 3)
  })
})

const noKey: (key: string) => void = () => undefined

/** A terminal that keeps what it was shown and presses what a test presses. */
function fakeTerminal() {
  const screens: (readonly string[])[] = []
  const taken = { open: 0, closed: 0, press: noKey, resize: (): void => undefined }
  let size = { columns: 100, rows: 10 }
  const terminal: Terminal = {
    size: () => size,
    async open({ key, resized }) {
      taken.open += 1
      taken.press = key
      taken.resize = resized
      return async () => void (taken.closed += 1)
    },
    show: async (lines) => void screens.push(lines),
  }
  return { terminal: () => terminal, screens, taken, setSize: (next: typeof size) => (size = next) }
}

t.test('hsu top on a terminal', async (t) => {
  t.test('shows it anew, follows keys and sizes, and gives the terminal back', async (t) => {
    const clock = new SimClock()
    const { terminal, screens, taken, setSize } = fakeTerminal()
    const done = hsu('top', { client, world: { clock, terminal, isTty: true } })
    await clock.advance(4_500)
    t.equal(screens.length, 3)
    taken.press('m')
    t.match(screens.at(-1)?.at(-1), /by memory/)
    setSize({ columns: 40, rows: 5 })
    taken.resize()
    t.equal(screens.at(-1)?.length, 5)
    taken.press('q')
    t.match(await done, { code: 0, stdout: '' })
    t.same([taken.open, taken.closed, clock.sleeping], [1, 1, 0])
  })

  t.test('stays when the node is gone for a while, and says so', async (t) => {
    const clock = new SimClock()
    const { terminal, screens, taken } = fakeTerminal()
    let fails = false
    const getUsage = async (): Promise<unknown> => {
      if (fails) throw new Error('no node')
      return { nodes: [], unreachable: [] }
    }
    const done = hsu('top', { client: { ...client, getUsage }, world: { clock, terminal } })
    await clock.advance(1_000)
    fails = true
    await clock.advance(2_000)
    t.match(screens.at(-1)?.at(-1), /no answer, shown is how it was at .*: no node/)
    fails = false
    await clock.advance(2_000)
    t.notMatch(screens.at(-1)?.at(-1), /no answer/)
    taken.press('\u0003')
    t.match(await done, { code: 0 })
  })

  t.test('a request to end gives the terminal back too', async (t) => {
    const clock = new SimClock()
    const { terminal, taken } = fakeTerminal()
    const stop = new AbortController()
    const done = hsu('top', { client, world: { clock, terminal, signal: stop.signal } })
    await clock.advance(1_000)
    stop.abort()
    await done
    t.equal(taken.closed, 1)
  })
})

t.test('hsu metrics', async (t) => {
  const samples = [
    {
      time: { seconds: 60n, nanos: 0 },
      instance: 'echo-0-a',
      usage: { cpu: 1, cpuSeconds: 3, rssBytes: 5n, processes: 1 },
    },
  ]
  const streamUsage = () =>
    streamOf(
      { unit: 'echo', replica: 1, node: 'edge-b', samples: [] },
      { unit: 'echo', replica: 0, node: 'edge-b', samples },
    )

  t.test('prints the samples of every slot', async (t) => {
    const { stdout, asked } = await hsu('metrics echo --since 10m -o json', { client: { streamUsage } })
    t.match(JSON.parse(stdout), [
      {
        unit: 'echo',
        replica: 0,
        node: 'edge-b',
        samples: [{ time: '1970-01-01T00:01:00.000Z', instance: 'echo-0-a', cpu: 1, rssBytes: 5, files: null }],
      },
      { replica: 1, samples: [] },
    ])
    t.match(asked[0], { method: 'streamUsage', request: { units: ['echo'], scope: 2 } })
  })

  t.test('prints tables for people', async (t) => {
    const { stdout } = await hsu('metrics echo@edge-b', { client: { streamUsage } })
    t.match(
      stdout,
      /echo, replica 0, on edge-b\nTIME +INSTANCE +CPU%[^]*echo-0-a +100\.0[^]*replica 1[^]*nothing in this time/,
    )
  })
})
