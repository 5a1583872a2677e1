// What a mesh of hosts does when it starts, when hosts die, freeze or lose their cable, beside Serf in the same kind of network:
// after a build, as root: `npm run bench -- lan`. Hosts are network namespaces on one bridge.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { createLan, type LanHost, lanMissing } from '../test/support/lan.ts'
import { HsuCluster } from './lan-hsu.ts'
import { SerfCluster, serfMissing } from './lan-serf.ts'
import { cpuMs, rssMb } from './nodes.ts'
import type { Row } from './table.ts'

/** What both are measured as. Hosts are counted from 0. */
export interface Cluster {
  readonly name: string
  /** Starts these hosts at the same time. */
  launch(hosts: readonly number[]): void
  /** Resolves with the moment (wall clock, ms) at which every one of `by` saw every one of `of` as `status`, all after `sinceMs`. */
  seen(by: readonly number[], of: readonly number[], status: 'alive' | 'dead', sinceMs: number): Promise<number>
  /** Ends the process by force, freezes it, or lets it go on. */
  signal(host: number, signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): void
  pid(host: number): number
  /** How long changes of what the first offers took, in ms, to be known everywhere. Absent: it has no registry. */
  changes?(): Promise<number[]>
  stop(): Promise<void>
}

const HOSTS = 10
const STARTERS = 8
/** How long a host is away before it comes back. */
const AWAY_MS = 5_000
const QUIET_MS = 3_000
const IDLE_MS = 60_000

interface Runs {
  readonly kill: number
  readonly freeze: number
  readonly unplug: number
}

const all = (count: number): number[] => Array.from({ length: count }, (_, index) => index)
const others = (host: number): number[] => all(HOSTS).filter((other) => other !== host)

export async function measureLan(): Promise<Row[]> {
  const missing = lanMissing()
  if (missing !== undefined) {
    process.stderr.write(`bench: lan is left out: ${missing}\n`)
    return []
  }
  const rows = await inLan((lan, home) => new HsuCluster(lan, home), { kill: 10, freeze: 10, unplug: 10 })
  const noSerf = serfMissing()
  if (noSerf !== undefined) process.stderr.write(`bench: Serf is left out: ${noSerf}\n`)
  else rows.push(...(await inLan((lan, home) => new SerfCluster(lan, home), { kill: 3, freeze: 3, unplug: 3 })))
  return rows
}

async function inLan(make: (lan: readonly LanHost[], home: string) => Cluster, runs: Runs) {
  const home = mkdtempSync(join(tmpdir(), 'hsu-bench-'))
  const undo: (() => unknown)[] = [() => rmSync(home, { recursive: true, force: true })]
  const teardown = (task: () => unknown): void => void undo.push(task)
  try {
    const lan = createLan(
      { teardown },
      all(HOSTS).map((index) => `h${index}`),
    )
    const cluster = make(lan, home)
    undo.push(() => cluster.stop())
    return await measure(cluster, lan, runs)
  } finally {
    for (const task of undo.toReversed()) await task()
  }
}

async function measure(cluster: Cluster, lan: readonly LanHost[], runs: Runs): Promise<Row[]> {
  const say = (what: string): void => void process.stderr.write(`bench: ${cluster.name}: ${what}\n`)
  say(`${STARTERS} hosts start together`)
  const startedMs = Date.now()
  cluster.launch(all(STARTERS))
  const together = (await cluster.seen(all(STARTERS), all(STARTERS), 'alive', startedMs)) - startedMs
  cluster.launch(all(HOSTS).slice(STARTERS))
  await cluster.seen(all(HOSTS), all(HOSTS), 'alive', startedMs)
  await pause(QUIET_MS)

  say('nothing happens')
  const sentBefore = lan.map(sentBytes)
  const cpuBefore = lan.map((_, host) => cpuMs([cluster.pid(host)]))
  await pause(IDLE_MS)
  const sent = lan.map((host, index) => ((sentBytes(host) - (sentBefore[index] ?? 0)) * 1_000) / IDLE_MS)
  const cpu = lan.map((_, host) => ((cpuMs([cluster.pid(host)]) - (cpuBefore[host] ?? 0)) / IDLE_MS) * 100)
  const rss = lan.map((_, host) => rssMb(cluster.pid(host)))

  const changes = cluster.changes === undefined ? [] : await cluster.changes()
  const killed: number[] = []
  for (let run = 0; run < runs.kill; run += 1) {
    say(`a host is killed, ${run + 1} of ${runs.kill}`)
    killed.push(await away(cluster, run % HOSTS, 'SIGKILL'))
  }
  const frozen: number[] = []
  for (let run = 0; run < runs.freeze; run += 1) {
    say(`a host freezes, ${run + 1} of ${runs.freeze}`)
    frozen.push(await away(cluster, (run + 3) % HOSTS, 'SIGSTOP'))
  }
  const unplugged: number[] = []
  const rejoined: number[] = []
  for (let run = 0; run < runs.unplug; run += 1) {
    say(`a cable is pulled, ${run + 1} of ${runs.unplug}`)
    const host = (run + 6) % HOSTS
    const outMs = Date.now()
    lan[host]?.cable('out')
    unplugged.push((await cluster.seen(others(host), [host], 'dead', outMs)) - outMs)
    await cluster.seen([host], others(host), 'dead', outMs)
    await pause(AWAY_MS)
    const inMs = Date.now()
    lan[host]?.cable('in')
    const back = await Promise.all([
      cluster.seen(others(host), [host], 'alive', inMs),
      cluster.seen([host], others(host), 'alive', inMs),
    ])
    rejoined.push(Math.max(...back) - inMs)
    await pause(QUIET_MS)
  }
  const row = (what: string, unit: string, samples: readonly number[], goal: string): Row[] =>
    samples.length === 0
      ? []
      : [{ what: `${cluster.name}: ${what}`, unit, samples, ...(cluster.name === 'HSU' && { goal }) }]
  return [
    ...row(`${STARTERS} hosts started together until all see all`, 'ms', [together], '<= 5000'),
    ...row(`killed host seen by all of ${HOSTS}`, 'ms', killed, '<= 200'),
    ...row(`frozen host seen by all of ${HOSTS}`, 'ms', frozen, 'p99 <= 2000'),
    ...row(`unplugged host seen by all of ${HOSTS}`, 'ms', unplugged, 'p99 <= 2000'),
    ...row('back after the cable is in, both ways', 'ms', rejoined, '<= 3000'),
    ...row(`change of the registry on all of ${HOSTS}`, 'ms', changes, 'p99 <= 150'),
    ...row('sent by an idle host, all headers', 'B/s', sent, '<= 2000'),
    ...row('CPU of an idle host', '% of a core', cpu, '<= 0.5'),
    ...row('RSS of an idle host', 'MB', rss, '<= 110'),
  ]
}

/** A host goes and comes back; how long until all others had seen that it went. */
async function away(cluster: Cluster, host: number, signal: 'SIGKILL' | 'SIGSTOP'): Promise<number> {
  const goneMs = Date.now()
  cluster.signal(host, signal)
  const tookMs = (await cluster.seen(others(host), [host], 'dead', goneMs)) - goneMs
  const backMs = Date.now()
  if (signal === 'SIGKILL') cluster.launch([host])
  else cluster.signal(host, 'SIGCONT')
  await cluster.seen(others(host), [host], 'alive', backMs)
  await pause(QUIET_MS)
  return tookMs
}

/** All that the host has sent on its wire since it was made. */
function sentBytes({ namespace }: LanHost): number {
  const told = execFileSync('ip', ['-n', namespace, '-j', '-s', 'link', 'show', 'eth0'], { encoding: 'utf8' })
  const [link] = JSON.parse(told) as { readonly stats64: { readonly tx: { readonly bytes: number } } }[]
  return link?.stats64.tx.bytes ?? 0
}
