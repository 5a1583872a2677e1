import { readFileSync } from 'node:fs'
import { createServer, connect as dial } from 'node:net'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { type Connection, ControlService, connect, type ServiceClient } from 'hsu'
import { repoRoot } from '../test/support/paths.ts'
import { SpawnedNode } from '../test/support/spawned-node.ts'
import type { Row } from './table.ts'

const RUNS = 5
const IDLE_WATCH_MS = 10_000
const SETTLE_MS = 5_000
const POLL_MS = 5
const TICKS_PER_SECOND = 100

type Control = ServiceClient<typeof ControlService>

/** A node of the bench with a client of its control API. */
export class BenchNode {
  readonly node: SpawnedNode
  readonly ingress: number
  readonly #connection: Connection
  readonly control: Control

  /** `prefix` is put before the command: `taskset -c 1`. */
  constructor(directory: string, ingress: number, config: object, prefix: readonly string[] = []) {
    this.node = new SpawnedNode(directory, { config, prefix })
    this.ingress = ingress
    this.#connection = connect(`unix:${join(directory, 'run', 'control.sock')}`)
    this.control = this.#connection.client(ControlService)
  }

  async stop(): Promise<void> {
    await this.control.shutdown({}).catch(() => undefined)
    this.#connection.close()
    if (this.node.running) await this.node.ended()
  }
}

/** A node by itself: start to listening, then what it costs while nothing happens. */
export async function measureAlone(home: string): Promise<Row[]> {
  const starts: number[] = []
  const rss: number[] = []
  const cpu: number[] = []
  for (let run = 0; run < RUNS; run += 1) {
    const ingress = await freePort()
    const bench = new BenchNode(join(home, `alone-${run}`), ingress, configOf('alone', ingress))
    const startedAt = performance.now()
    bench.node.launch()
    await until(() => accepts(ingress))
    starts.push(performance.now() - startedAt)
    await until(async () => (await aliveSeen(bench)) === 1)
    if (run === 0) {
      await pause(SETTLE_MS)
      cpu.push(await idleCpuPercent([bench.node.pid]))
      rss.push(rssMb(bench.node.pid))
    }
    await bench.stop()
  }
  return [
    { what: 'start to ingress listening, no mesh', unit: 'ms', samples: starts, goal: '<= 600' },
    { what: 'idle RSS, no mesh, no units', unit: 'MB', samples: rss, goal: '<= 55' },
    { what: 'idle CPU, no mesh, no units', unit: '% of a core', samples: cpu },
  ]
}

/** Three nodes: discovery from a cold start, the cost of idling together, and the loss of one. */
export async function measureMesh(home: string): Promise<Row[]> {
  const discovery: number[] = []
  const detection: number[] = []
  const rss: number[] = []
  const cpu: number[] = []
  for (let run = 0; run < RUNS; run += 1) {
    const directory = join(home, `mesh-${run}`)
    const keyFile = join(directory, 'mesh.key')
    const nodes: BenchNode[] = []
    for (const name of ['a', 'b', 'c']) {
      const ingress = await freePort()
      nodes.push(new BenchNode(join(directory, name), ingress, configOf(name, ingress, keyFile)))
    }
    const [first, ...others] = nodes as [BenchNode, BenchNode, BenchNode]
    await first.node.hsu('mesh', 'create', '--out', keyFile)

    const startedAt = performance.now()
    for (const { node } of nodes) node.launch()
    await until(async () => (await Promise.all(nodes.map((node) => aliveSeen(node)))).every((alive) => alive === 3))
    discovery.push(performance.now() - startedAt)
    if (run === 0) {
      await pause(SETTLE_MS)
      cpu.push((await idleCpuPercent(nodes.map(({ node }) => node.pid))) / nodes.length)
      rss.push(...nodes.map(({ node }) => rssMb(node.pid)))
    }

    const killedAt = performance.now()
    await first.node.kill()
    await until(async () => (await Promise.all(others.map((node) => aliveSeen(node)))).every((alive) => alive === 2))
    detection.push(performance.now() - killedAt)
    for (const other of nodes) await other.stop()
  }
  return [
    { what: 'cold start of 3 nodes until all see all', unit: 'ms', samples: discovery, goal: '<= 5000' },
    { what: 'idle RSS of a node in a mesh of 3', unit: 'MB', samples: rss, goal: '<= 110' },
    { what: 'idle CPU of a node in a mesh of 3', unit: '% of a core', samples: cpu, goal: '<= 1' },
    { what: 'killed node gone on all others', unit: 'ms', samples: detection, goal: '<= 200' },
  ]
}

export function configOf(name: string, ingress: number, keyFile?: string, units: object = {}): object {
  const listen = { ingress: `127.0.0.1:${ingress}`, mesh: '127.0.0.1:0', link: '127.0.0.1:0' }
  const mesh = { name: 'bench', key_file: keyFile, discovery: { interfaces: ['lo'] } }
  return { version: 1, node: { name, listen }, ...(keyFile === undefined ? {} : { mesh }), units }
}

export const ECHO_UNIT = {
  kind: 'integrated',
  run: [process.execPath, join(repoRoot, 'dist/examples/echo-ts/server.js'), '--port', '{port.grpc}'],
  ports: { grpc: 'auto' },
}

/** Polls until it is so; bounded, because a bench that hangs tells nothing. */
export async function until(met: () => boolean | Promise<boolean>, withinMs = 60_000): Promise<void> {
  const deadline = performance.now() + withinMs
  while (!(await Promise.resolve(met()).catch(() => false))) {
    if (performance.now() > deadline) throw new Error(`bench: not within ${withinMs} ms`)
    await pause(POLL_MS)
  }
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })
}

export async function aliveSeen({ control }: BenchNode): Promise<number> {
  const { nodes } = await control.listNodes({}, { timeoutMs: 1_000 })
  return nodes.filter(({ status }) => status === 'alive').length
}

export function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = dial(port, '127.0.0.1')
    const end = (accepted: boolean): void => {
      socket.destroy()
      resolve(accepted)
    }
    socket.once('connect', () => end(true))
    socket.once('error', () => end(false))
  })
}

/** CPU of all `pids` together while nothing happens, in percent of one core. */
export async function idleCpuPercent(pids: readonly number[], watchMs = IDLE_WATCH_MS): Promise<number> {
  const before = cpuMs(pids)
  const startedAt = performance.now()
  await pause(watchMs)
  return ((cpuMs(pids) - before) / (performance.now() - startedAt)) * 100
}

/** Processor time of all `pids` together since they began. */
export function cpuMs(pids: readonly number[]): number {
  const ticks = pids.map((pid) => {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ')
    return Number(fields[11]) + Number(fields[12])
  })
  return (ticks.reduce((sum, one) => sum + one, 0) * 1_000) / TICKS_PER_SECOND
}

export function pssMb(pid: number): number {
  const kb = /^Pss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1]
  return (Number(kb) * 1024) / 1e6
}

export function rssMb(pid: number): number {
  const kb = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return (Number(kb) * 1024) / 1e6
}
