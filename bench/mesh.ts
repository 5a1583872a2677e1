// What a mesh costs while nothing happens, with every byte on the wire: after a build, as root: `node dist/bench/mesh.js [NODES]`. It runs in a
// network namespace of its own, so that loopback carries nothing else and the kernel counts for us.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { aliveSeen, BenchNode, configOf, freePort, idleCpuPercent, rssMb, until } from './nodes.ts'
import { type Row, render } from './table.ts'

/** Long enough for what starting up left to be collected: that is not idling. */
const SETTLE_MS = 45_000
const WATCH_MS = 60_000
const INSIDE = 'HSU_BENCH_NAMESPACE'

if (process.env[INSIDE] === undefined) enterNamespace()
else await main(Number(process.argv[2] ?? 10))

function enterNamespace(): void {
  const setUp = 'ip link set lo up && ip route add 224.0.0.0/4 dev lo && exec "$@"'
  const self = [process.execPath, process.argv[1] ?? '', ...process.argv.slice(2)]
  const { status } = spawnSync('unshare', ['-n', 'sh', '-c', setUp, 'sh', ...self], {
    stdio: 'inherit',
    env: { ...process.env, [INSIDE]: '1' },
  })
  process.exitCode = status ?? 1
}

async function main(count: number): Promise<void> {
  const home = mkdtempSync(join(tmpdir(), 'hsu-bench-'))
  try {
    const rows = await measureIdleMesh(home, count)
    process.stdout.write(`load ${loadavg()[0]?.toFixed(1)}\n\n${render(rows)}\n`)
  } finally {
    rmSync(home, { recursive: true, force: true })
  }
}

/** `count` nodes that have found each other and do nothing. */
async function measureIdleMesh(home: string, count: number): Promise<Row[]> {
  const keyFile = join(home, 'mesh.key')
  const nodes: BenchNode[] = []
  for (let index = 0; index < count; index += 1) {
    const ingress = await freePort()
    nodes.push(new BenchNode(join(home, `n${index}`), ingress, configOf(`n${index}`, ingress, keyFile)))
  }
  try {
    await nodes[0]?.node.hsu('mesh', 'create', '--out', keyFile)
    for (const { node } of nodes) node.launch()
    await until(async () => (await Promise.all(nodes.map(aliveSeen))).every((alive) => alive === count), 120_000)
    await pause(SETTLE_MS)
    const before = loopback()
    const cpu = await Promise.all(nodes.map(({ node }) => idleCpuPercent([node.pid], WATCH_MS)))
    const after = loopback()
    const perNode = count * (WATCH_MS / 1_000)
    const suffix = `of a node in a mesh of ${count}`
    return [
      { what: `idle CPU ${suffix}`, unit: '% of a core', samples: cpu, goal: '<= 0.5' },
      { what: `idle RSS ${suffix}`, unit: 'MB', samples: nodes.map(({ node }) => rssMb(node.pid)), goal: '<= 110' },
      {
        what: `sent, all headers ${suffix}`,
        unit: 'B/s',
        samples: [(after.bytes - before.bytes) / perNode],
        goal: '<= 2000',
      },
      { what: `packets sent ${suffix}`, unit: '1/s', samples: [(after.packets - before.packets) / perNode] },
    ]
  } finally {
    await Promise.all(nodes.map((node) => node.stop().catch(() => node.node.kill())))
  }
}

/** What went through loopback since the namespace began. */
function loopback(): { bytes: number; packets: number } {
  const line = readFileSync('/proc/net/dev', 'utf8')
    .split('\n')
    .find((text) => text.trim().startsWith('lo:'))
  const fields = line?.split(':')[1]?.trim().split(/\s+/).map(Number) ?? []
  return { bytes: fields[8] ?? 0, packets: fields[9] ?? 0 }
}
