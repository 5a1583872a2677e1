import { join } from 'node:path'
import { EchoClient } from '../examples/three-nodes/echo-client.ts'
import { BenchNode, configOf, ECHO_UNIT, freePort, until } from './nodes.ts'
import { median, type Row } from './table.ts'

const ROUNDS = 7
const ROUND_MS = 1_000
const CONCURRENCIES = [1, 32]

/** The same unary call straight to the unit and through the ingress of its node, round by round in turn. */
export async function measureCalls(home: string): Promise<Row[]> {
  const ingress = await freePort()
  const bench = new BenchNode(join(home, 'calls'), ingress, configOf('calls', ingress, undefined, { echo: ECHO_UNIT }))
  bench.node.launch()
  await until(async () => (await bench.control.listUnits({})).units.some(({ ready }) => ready))
  const port = (await bench.control.listUnits({})).units[0]?.ports['grpc'] ?? 0

  const rows: Row[] = []
  for (const concurrency of CONCURRENCIES) {
    const readings = { direct: [] as Reading[], ingress: [] as Reading[] }
    const clients = { direct: new EchoClient(port), ingress: new EchoClient(ingress) }
    for (const client of Object.values(clients)) await measureRound(client, concurrency) // warm up
    for (let round = 0; round < ROUNDS; round += 1) {
      for (const path of ['direct', 'ingress'] as const) {
        readings[path].push(await measureRound(clients[path], concurrency))
      }
    }
    for (const client of Object.values(clients)) client.close()
    const times = `${concurrency} at a time`
    for (const path of ['direct', 'ingress'] as const) {
      rows.push(
        { what: `${path}, unary, ${times}: p50`, unit: 'us', samples: readings[path].map(({ p50Us }) => p50Us) },
        {
          what: `${path}, unary, ${times}`,
          unit: 'calls/s',
          samples: readings[path].map(({ perSecond }) => perSecond),
        },
      )
    }
    const ratios = readings.ingress.map(({ perSecond }, round) => perSecond / (readings.direct[round]?.perSecond ?? 1))
    rows.push({ what: `ingress / direct, ${times}`, unit: 'ratio of calls/s', samples: ratios })
  }
  await bench.stop()
  return rows
}

interface Reading {
  readonly p50Us: number
  readonly perSecond: number
}

async function measureRound(client: EchoClient, concurrency: number): Promise<Reading> {
  const times: number[] = []
  const startedAt = performance.now()
  const caller = async (): Promise<void> => {
    while (performance.now() - startedAt < ROUND_MS) {
      const sentAt = performance.now()
      await client.echo('x'.repeat(100), {})
      times.push((performance.now() - sentAt) * 1_000)
    }
  }
  await Promise.all(Array.from({ length: concurrency }, caller))
  return { p50Us: median(times), perSecond: (times.length * 1_000) / (performance.now() - startedAt) }
}
