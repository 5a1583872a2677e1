import { connect } from 'node:http2'
import { setTimeout as pause } from 'node:timers/promises'
import type { Row } from '../table.ts'
import { median, percentile } from '../table.ts'
import { directPath, haproxyPath, hsuPath, hsuTwoPath, nginxPath, nginxTwoPath, type Path } from './proxies.ts'
import { type CallCase, compileLoad, has, type LoadPrograms, nameOf, runLoad } from './tools.ts'

const ROUNDS = 5
const ROUND_S = 0.6
const IDLE_CONNECTIONS = 1_000

type Column = 'hsu' | 'haproxy' | 'nginx' | 'direct'

/** One figure of one way of calling, for each that was measured: all readings, whose median counts. */
export interface CallRow {
  readonly case: string
  readonly metric: string
  readonly goal?: string
  readonly readings: Readonly<Partial<Record<Column, readonly number[]>>>
}

const CASES: readonly CallCase[] = [
  { connections: 1, streams: 50, bytes: 100 },
  { connections: 50, streams: 1, bytes: 100 },
  { connections: 8, streams: 8, bytes: 100 },
  { connections: 1, streams: 1, bytes: 100 },
  { connections: 1, streams: 50, bytes: 10_000 },
  { connections: 1, streams: 4, bytes: 1_000_000 },
]

/** The same calls straight to a unit and through each proxy, in turn; the proxy is pinned to a core. */
export async function measureCalls(home: string): Promise<CallRow[]> {
  if (process.platform !== 'linux' || !has('taskset')) return skipped('calls are measured on Linux, with taskset')
  let programs: LoadPrograms
  try {
    programs = compileLoad(home)
  } catch (error) {
    return skipped(error instanceof Error ? error.message : String(error))
  }
  const rows = [...(await oneHop(home, programs)), ...(await twoHops(home, programs))]
  return rows
}

function skipped(why: string): CallRow[] {
  process.stderr.write(`bench: calls are not measured: ${why}\n`)
  return []
}

async function oneHop(home: string, programs: LoadPrograms): Promise<CallRow[]> {
  const direct = await directPath(programs, home)
  const all: [Column, Path | undefined][] = [
    ['direct', direct],
    ['hsu', await hsuPath(home, programs)],
    ['haproxy', await haproxyPath(home, direct.port)],
    ['nginx', await nginxPath(home, direct.port)],
  ]
  const paths = all.filter((each): each is [Column, Path] => each[1] !== undefined)
  try {
    const rows: CallRow[] = []
    for (const each of CASES) rows.push(...(await rounds(each, nameOf(each), paths, programs)))
    rows.push(await idleConnections(paths.filter(([name]) => name !== 'direct')))
    return rows
  } finally {
    for (const [, path] of paths) await path.stop()
  }
}

/** Through two nodes over a link, beside one nginx before another over TLS; and what that does to the node. */
async function twoHops(home: string, programs: LoadPrograms): Promise<CallRow[]> {
  const direct = await directPath(programs, home)
  const hsu = await hsuTwoPath(home, programs)
  const nginx = await nginxTwoPath(home, direct.port)
  const paths: [Column, Path][] = [['hsu', hsu], ...(nginx === undefined ? [] : [['nginx', nginx] as [Column, Path]])]
  try {
    const rows: CallRow[] = []
    for (const each of [CASES[0], CASES[4]]) {
      if (each !== undefined) rows.push(...(await rounds(each, `2 hops ${nameOf(each)}`, paths, programs)))
    }
    const answers: number[] = []
    const load = runLoad(programs, hsu.port, CASES[0] ?? { connections: 1, streams: 50, bytes: 100 }, 5)
    const over = load.then(() => true)
    while (!(await Promise.race([over, pause(20, false)]))) {
      const startedAt = performance.now()
      await hsu.nodes[0]?.control.listNodes({})
      answers.push(performance.now() - startedAt)
    }
    const { nodes } = (await hsu.nodes[1]?.control.listNodes({})) ?? { nodes: [] }
    const doubted = nodes.filter(({ status }) => status !== 'alive').length
    rows.push({
      case: 'saturated',
      metric: 'control_p99_ms',
      goal: '<= 20',
      readings: { hsu: [percentile(answers, 99)] },
    })
    rows.push({ case: 'saturated', metric: 'nodes_suspected', goal: '0', readings: { hsu: [doubted] } })
    return rows
  } finally {
    for (const [, path] of paths) await path.stop()
    await direct.stop()
  }
}

const GOALS: Readonly<Record<string, string>> = {
  '1x50x100B cpu_us_per_call': '<= 0.4x haproxy, <= 0.15x nginx',
  '50x1x100B cpu_us_per_call': '<= 0.6x haproxy, <= 0.35x nginx',
  '1x1x100B added_p50_us': '< haproxy, < nginx, <= 60',
  '1x50x10kB mb_per_core_second': '> haproxy, > nginx',
  '1x4x1MB mb_per_core_second': '> haproxy, > nginx',
  '2 hops 1x50x100B cpu_us_per_call': '< nginx',
}

async function rounds(
  each: CallCase,
  name: string,
  paths: readonly [Column, Path][],
  programs: LoadPrograms,
): Promise<CallRow[]> {
  const metrics = new Map<string, Partial<Record<Column, number[]>>>()
  const note = (metric: string, column: Column, value: number): void => {
    const readings = metrics.get(metric) ?? {}
    metrics.set(metric, readings)
    const known = readings[column] ?? []
    readings[column] = [...known, value]
  }
  for (let round = -1; round < ROUNDS; round += 1) {
    let directP50Us = Number.NaN
    for (const [column, path] of paths) {
      const before = path.cpuUs()
      const { calls, failed, p50Us, p99Us, perSecond, mbPerS } = await runLoad(programs, path.port, each, ROUND_S)
      const cpu = path.cpuUs() - before
      if (failed > 0) process.stderr.write(`bench: ${name} ${column}: ${failed} calls failed\n`)
      // The first round warms up.
      if (round < 0) continue
      note('rps', column, perSecond)
      note('p50_us', column, p50Us)
      note('p99_us', column, p99Us)
      if (column === 'direct') directP50Us = p50Us
      else {
        note('cpu_us_per_call', column, cpu / calls)
        if (each.bytes > 1_000) note('mb_per_core_second', column, (mbPerS * ROUND_S * 1e6) / cpu)
        if (!Number.isNaN(directP50Us) && each.connections * each.streams === 1)
          note('added_p50_us', column, p50Us - directP50Us)
      }
    }
  }
  return [...metrics].map(([metric, readings]) => {
    const goal = GOALS[`${name} ${metric}`]
    return { case: name, metric, readings, ...(goal !== undefined && { goal }) }
  })
}

/** What a connection costs that has made one call and waits. */
async function idleConnections(paths: readonly [Column, Path][]): Promise<CallRow> {
  const readings: Partial<Record<Column, number[]>> = {}
  for (const [column, path] of paths) {
    const before = path.rssBytes()
    const sessions = Array.from({ length: IDLE_CONNECTIONS }, () => connect(`http://127.0.0.1:${path.port}`))
    for (const session of sessions) {
      session.on('error', () => undefined)
      const headers = {
        ':method': 'POST',
        ':path': '/echo.Echo/Unary',
        'content-type': 'application/grpc',
        te: 'trailers',
      }
      const stream = session.request(headers)
      stream.on('error', () => undefined)
      stream.resume()
      const closed = new Promise((resolve) => stream.once('close', resolve))
      stream.end(Buffer.alloc(5))
      await closed
    }
    await pause(1_000)
    readings[column] = [(path.rssBytes() - before) / IDLE_CONNECTIONS / 1_000]
    for (const session of sessions) session.destroy()
  }
  return { case: `${IDLE_CONNECTIONS} idle connections`, metric: 'kb_per_connection', goal: '<= 20', readings }
}

/** As programs read it: the median of each column. */
export function callRowsJson(rows: readonly CallRow[]): object[] {
  return rows.map(({ readings, ...row }) => {
    const medians = Object.fromEntries(Object.entries(readings).map(([column, values]) => [column, median(values)]))
    const runs = Math.max(...Object.values(readings).map((values) => values.length))
    return { case: row.case, metric: row.metric, ...medians, runs, ...(row.goal !== undefined && { goal: row.goal }) }
  })
}

/** As people read it, with what HSU is of each peer. */
export function renderCallRows(rows: readonly CallRow[]): string {
  const columns: readonly Column[] = ['hsu', 'haproxy', 'nginx', 'direct']
  const short = (value: number | undefined): string =>
    value === undefined ? '' : value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)
  const body = rows.map(({ readings, metric, goal = '', ...row }) => {
    const medians = columns.map((column) => (readings[column] === undefined ? undefined : median(readings[column])))
    const [hsu, haproxy, nginx] = medians
    const ratio = (peer: number | undefined): string =>
      hsu === undefined || peer === undefined ? '' : `${(hsu / peer).toFixed(2)}x`
    const runs = Math.max(...Object.values(readings).map((values) => values.length))
    return `| ${[row.case, metric, ...medians.map(short), ratio(haproxy), ratio(nginx), runs, goal].join(' | ')} |`
  })
  const head = ['case', 'metric', ...columns, 'of haproxy', 'of nginx', 'runs', 'goal']
  return [`| ${head.join(' | ')} |`, `|${'---|'.repeat(head.length)}`, ...body].join('\n')
}

/** Among the rows of other parts. */
export function asRows(rows: readonly CallRow[]): Row[] {
  return rows.flatMap(({ readings, metric, ...row }) =>
    Object.entries(readings).map(([column, samples]) => ({
      what: `calls ${row.case}, ${column}`,
      unit: metric,
      samples,
    })),
  )
}
