import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { repoRoot } from '../test/support/paths.ts'
import { goProgram, nodeProgram, type Program } from '../test/support/xds-clients.ts'
import { BenchNode, configOf, ECHO_UNIT, freePort, until } from './nodes.ts'
import { median, type Row } from './table.ts'

/** Pairs; one more before them warms up and is not counted. */
const ROUNDS = 11
/** Calls of a round one after the other, for the latency, and then 50 at once, for the CPU time. */
const SINGLE = 500
const MANY = 2_500

const SERVICE = 'echo.v1.EchoService'

/** What plain calls are held against. The first is the same again: how far two equal things are apart on this machine. */
const PLAIN = 'plain'
const AGAIN = 'plain again'

/** One turn of one way, as a client tells of it. */
interface Reading {
  readonly round: number
  readonly name: string
  readonly p50Us: number
  readonly cpuUs: number
}

interface Port {
  readonly unit: string
  readonly ready: boolean
  readonly ports: Readonly<Record<string, number>>
}

/**
 * Direct calls of clients that are told by the node where to go, beside calls of the same client to the address itself: in one
 * process, turn by turn, so that each pair saw the same machine.
 */
export async function measureDirect(home: string): Promise<Row[]> {
  const ingress = await freePort()
  const unit = { ...ECHO_UNIT, services: [SERVICE] }
  const bench = new BenchNode(join(home, 'direct'), ingress, configOf('direct', ingress, undefined, { echo: unit }))
  bench.node.launch()
  try {
    let port = 0
    await until(async () => {
      const [row] = await bench.node.json<Port>('ps', 'echo')
      port = (row?.ready === true && row.ports['grpc']) || 0
      return port > 0
    })
    const env = {
      GRPC_XDS_BOOTSTRAP: join(bench.node.directory, 'run', 'xds.json'),
      HSU_INGRESS: `127.0.0.1:${ingress}`,
    }
    const target = `127.0.0.1:${port}`
    const rows: Row[] = []
    for (const [language, prepare, schemes] of CLIENTS) {
      const program = prepared(language, prepare)
      if (program === undefined) continue
      const ways = [
        `${PLAIN}=${target}`,
        `${AGAIN}=dns:${target}`,
        ...schemes.map((scheme) => `${scheme}=${scheme}:///${SERVICE}`),
      ]
      rows.push(...rowsOf(language, schemes, await readings(program, ways, env)))
    }
    return rows
  } finally {
    await bench.stop()
  }
}

const CLIENTS: readonly (readonly [language: string, prepare: () => Program, schemes: readonly string[]])[] = [
  ['Node', () => nodeProgram(join(repoRoot, 'bench/direct/client.mjs')), ['xds', 'hsu']],
  ['Go', () => goProgram('bench', join(repoRoot, 'bench/direct/client.go')), ['xds']],
]

function prepared(language: string, prepare: () => Program): Program | undefined {
  try {
    return prepare()
  } catch (error) {
    process.stderr.write(`bench: no ${language} client: ${String(error)}\n`)
    return undefined
  }
}

async function readings(
  { command: [file = '', ...args], env }: Program,
  ways: readonly string[],
  more: Readonly<Record<string, string>>,
): Promise<Reading[]> {
  const child = spawn(file, [...args, String(ROUNDS), String(SINGLE), String(MANY), ...ways], {
    env: { ...process.env, ...env, ...more },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let text = ''
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()))
  const [code] = (await once(child, 'close')) as [number]
  if (code !== 0) throw new Error(`${file} ended with ${code}`)
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Reading)
    .filter(({ round }) => round > 0)
}

function rowsOf(language: string, schemes: readonly string[], all: readonly Reading[]): Row[] {
  const samplesOf = (name: string, key: 'p50Us' | 'cpuUs'): number[] =>
    all.filter((reading) => reading.name === name).map((reading) => reading[key])
  return METRICS.flatMap(([key, what]) => {
    const plain = samplesOf(PLAIN, key)
    const ratios = [AGAIN, ...schemes].map((name): Row => {
      const samples = samplesOf(name, key).map((value, round) => value / (plain[round] ?? Number.NaN))
      const [from, to] = intervalOf(samples)
      const goal = name === AGAIN ? '' : 'the interval holds 1'
      return { what: `${language}, ${what}, ${name} / plain (95 %: ${from} to ${to})`, unit: 'x', samples, goal }
    })
    return [{ what: `${language}, ${what}, plain`, unit: 'us', samples: plain }, ...ratios]
  })
}

const METRICS = [
  ['p50Us', 'one call at a time, p50'],
  ['cpuUs', 'CPU of the client per call, 50 at once'],
] as const

/** Where the median of such pairs lies with at least 95 %, whatever they are spread like: by the ranks of the sign test. */
function intervalOf(samples: readonly number[]): readonly [from: string, to: string] {
  const sorted = samples.toSorted((one, other) => one - other)
  const n = sorted.length
  let rank = 0
  for (let [tail, chance] = [0, 0.5 ** n]; rank < n / 2; rank += 1) {
    tail += chance
    if (tail > 0.025) break
    chance = (chance * (n - rank)) / (rank + 1)
  }
  const at = Math.max(0, rank - 1)
  const text = (index: number): string => (sorted[index] ?? median(samples)).toFixed(3)
  return [text(at), text(n - 1 - at)]
}
