import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { EchoLoad } from '../test/support/echo-load.ts'
import { BenchNode, configOf, ECHO_UNIT, freePort, until } from './nodes.ts'
import type { Row } from './table.ts'

const SWAPS = 10
const CALLERS = 4
/** Each caller rests so long between two calls: a steady load, not all that the machine can do. */
const REST_MS = 10
/** Between two swaps, so that there is something to compare with. */
const CALM_MS = 3_000

interface Call {
  readonly endedAtMs: number
  readonly tookMs: number
  readonly failed: boolean
}

interface Swap {
  readonly beganAtMs: number
  readonly endedAtMs: number
}

/** What callers notice while `hsu upgrade` replaces the process of the node that they call through. */
export async function measureUpgrade(home: string): Promise<Row[]> {
  const ingress = await freePort()
  const units = { echo: { ...ECHO_UNIT, replicas: 2 } }
  const bench = new BenchNode(join(home, 'upgrade'), ingress, configOf('upgrade', ingress, undefined, units))
  bench.node.launch()
  await until(async () => (await bench.control.listUnits({})).units.filter(({ ready }) => ready).length === 2)

  const calls: Call[] = []
  const load = new EchoLoad(`127.0.0.1:${ingress}`, CALLERS, {
    restMs: REST_MS,
    onCall: (tookMs, failure) => calls.push({ endedAtMs: performance.now(), tookMs, failed: failure !== undefined }),
  })
  await pause(CALM_MS) // warm up
  const warmAtMs = performance.now()
  const swaps: Swap[] = []
  for (let swap = 0; swap < SWAPS; swap += 1) {
    await pause(CALM_MS)
    const beganAtMs = performance.now()
    await bench.control.upgrade({})
    swaps.push({ beganAtMs, endedAtMs: performance.now() })
  }
  await pause(CALM_MS)
  await load.end()
  await bench.stop()
  return rowsOf(
    calls.filter(({ endedAtMs, tookMs }) => endedAtMs - tookMs > warmAtMs),
    swaps,
  )
}

function rowsOf(calls: readonly Call[], swaps: readonly Swap[]): Row[] {
  const during = swaps.map((swap) => calls.filter((call) => overlaps(call, swap)))
  const calm = calls.filter((call) => !swaps.some((swap) => overlaps(call, swap)))
  const rows = [during.flat(), calm].flatMap((some, index) => {
    const where = index === 0 ? 'during swaps' : 'between swaps'
    const times = some.map(({ tookMs }) => tookMs).toSorted((one, other) => one - other)
    return [0.5, 0.99, 1].map((share) => ({
      what: `call ${where}: ${share === 1 ? 'longest' : `p${share * 100}`} of ${times.length}`,
      unit: 'ms',
      samples: [times[Math.ceil(times.length * share) - 1] ?? Number.NaN],
    }))
  })
  const failed = during.map((some) => some.filter(({ failed }) => failed).length)
  return [
    { what: 'calls that failed in one swap', unit: 'calls', samples: failed, goal: '0' },
    { what: 'calls that failed between swaps', unit: 'calls', samples: [calm.filter(({ failed }) => failed).length] },
    ...rows,
    { what: 'time of a swap', unit: 'ms', samples: swaps.map(({ beganAtMs, endedAtMs }) => endedAtMs - beganAtMs) },
  ]
}

function overlaps({ endedAtMs, tookMs }: Call, swap: Swap): boolean {
  return endedAtMs >= swap.beganAtMs && endedAtMs - tookMs <= swap.endedAtMs
}
