// An hour of a mesh in which little happens, as root, after a build: `node dist/bench/soak-mesh.js [MINUTES [NODES]]`. Hosts are network
// namespaces on one bridge. Each minute units are started anew on some hosts, and one cable is pulled for a few seconds.
// RSS, anonymous memory, file descriptors and threads of each node are read every ten seconds; what grows is told as a slope with its interval.
import { spawnSync } from 'node:child_process'
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { createLan, type LanHost } from '../test/support/lan.ts'
import { SpawnedNode } from '../test/support/spawned-node.ts'
import { until } from './nodes.ts'
import { type Trend, trendOf } from './soak/trend.ts'

const SAMPLE_MS = 10_000
const CHURN_MS = 60_000
/** How long a cable is out. */
const OUT_MS = 5_000
/** The part of the time, at its end, that the slope is taken of: what warms up at first is no leak. */
const SLOPE_PART = 2 / 3

interface Sample {
  readonly atMs: number
  readonly node: string
  readonly rssKb: number
  readonly anonKb: number
  readonly fds: number
  readonly threads: number
}

const minutes = Number(process.argv[2] ?? 60)
const count = Number(process.argv[3] ?? 10)
const out = process.env['HSU_SOAK_OUT'] ?? join(tmpdir(), `hsu-soak-${process.pid}.jsonl`)
const undo: (() => unknown)[] = []

try {
  await soak()
} finally {
  for (const task of undo.toReversed()) await task()
}

async function soak(): Promise<void> {
  const home = mkdtempSync(join(tmpdir(), 'hsu-soak-'))
  undo.push(() => rmSync(home, { recursive: true, force: true }))
  const names = Array.from({ length: count }, (_, index) => `h${index}`)
  const lan = createLan({ teardown: (task) => void undo.push(task as () => unknown) }, names)
  const keyFile = join(home, 'mesh.key')
  const nodes = lan.map(({ name, prefix }) => newNode(home, keyFile, name, prefix))
  undo.push(() => Promise.all(nodes.map(stopNode)))
  const made = spawnSync('env', ['-u', 'NODE_OPTIONS', 'bin/hsu', 'mesh', 'create', '--out', keyFile])
  if (made.status !== 0) throw new Error(String(made.stderr))
  for (const node of nodes) node.launch()
  for (const node of nodes) await until(async () => (await aliveSeen(node)) === count, 120_000)
  say(`${count} nodes see each other; samples go to ${out}`)

  const samples: Sample[] = []
  const startedMs = Date.now()
  let churnAtMs = startedMs + CHURN_MS
  for (let round = 0; Date.now() - startedMs < minutes * 60_000; ) {
    for (const node of nodes) {
      const sample = sampleOf(node, Date.now() - startedMs)
      if (sample === undefined) continue
      samples.push(sample)
      appendFileSync(out, `${JSON.stringify(sample)}\n`)
    }
    if (Date.now() >= churnAtMs) {
      churnAtMs += CHURN_MS
      await churn(nodes, lan, (round += 1)).catch((error: unknown) => say(`round ${round}: ${String(error)}`))
      report(samples)
    }
    await pause(SAMPLE_MS)
  }
  report(samples)
  for (const node of nodes) say(`${node.directory.split('/').at(-1)} sees ${await aliveSeen(node)} of ${count}`)
}

function newNode(home: string, keyFile: string, name: string, prefix: readonly string[]): SpawnedNode {
  const units = {
    sleeper: { run: ['sleep', '86400'] },
    ticker: { run: ['sh', '-c', 'while :; do date; sleep 30; done'] },
  }
  const mesh = { name: 'soak', key_file: keyFile }
  return new SpawnedNode(join(home, name), { prefix, config: { version: 1, node: { name }, mesh, units } })
}

/** Units of two hosts start anew, the cable of a third is out for a while. The first host is left alone, to compare with. */
async function churn(nodes: readonly SpawnedNode[], lan: readonly LanHost[], round: number): Promise<void> {
  const nth = (offset: number): number => 1 + ((round + offset) % (nodes.length - 1))
  for (const offset of [0, 1]) await nodes[nth(offset)]?.hsu('restart', offset === 0 ? 'sleeper' : 'ticker')
  lan[nth(2)]?.cable('out')
  await pause(OUT_MS)
  lan[nth(2)]?.cable('in')
}

/** Undefined while the node does not run. */
function sampleOf(node: SpawnedNode, atMs: number): Sample | undefined {
  try {
    const { pid } = node
    const memory = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    const kb = (text: string, key: string): number => Number(new RegExp(`^${key}:\\s+(\\d+)`, 'm').exec(text)?.[1])
    return {
      atMs,
      node: node.directory.split('/').at(-1) ?? '',
      rssKb: kb(memory, 'Rss'),
      anonKb: kb(memory, 'Anonymous'),
      fds: readdirSync(`/proc/${pid}/fd`).length,
      threads: kb(status, 'Threads'),
    }
  } catch {
    return undefined
  }
}

/** The slope of each node over the last part of the time, in MB an hour. */
function report(samples: readonly Sample[]): void {
  const lastMs = samples.at(-1)?.atMs ?? 0
  const late = samples.filter(({ atMs }) => atMs >= lastMs * (1 - SLOPE_PART))
  const names = [...new Set(late.map(({ node }) => node))]
  say(`after ${(lastMs / 60_000).toFixed(0)} min, of the last ${((lastMs * SLOPE_PART) / 60_000).toFixed(0)}:`)
  for (const name of names) {
    const own = late.filter(({ node }) => node === name)
    const rss = trendOf(own.map(({ atMs, rssKb }) => ({ x: atMs / 3_600_000, y: (rssKb * 1_024) / 1e6 })))
    const anon = trendOf(own.map(({ atMs, anonKb }) => ({ x: atMs / 3_600_000, y: (anonKb * 1_024) / 1e6 })))
    const last = own.at(-1)
    say(
      `${name}: RSS ${((last?.rssKb ?? 0) / 976.6).toFixed(1)} MB, ${shown(rss)} MB/h; anonymous ${shown(anon)} MB/h; ` +
        `fds ${own[0]?.fds} to ${last?.fds}; threads ${last?.threads}`,
    )
  }
}

function shown({ slope, within }: Trend): string {
  return `${slope >= 0 ? '+' : ''}${slope.toFixed(2)} ± ${within.toFixed(2)}`
}

async function aliveSeen(node: SpawnedNode): Promise<number> {
  const rows = await node.json<{ status: string }>('nodes').catch(() => [])
  return rows.filter(({ status }) => status === 'alive').length
}

async function stopNode(node: SpawnedNode): Promise<void> {
  if (!node.running) return
  await node.hsu('down')
  await node.ended().catch(() => node.kill())
}

function say(text: string): void {
  process.stdout.write(`${new Date().toISOString().slice(11, 19)} ${text}\n`)
}
