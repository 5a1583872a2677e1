import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Metadata, status } from '@grpc/grpc-js'
import t from 'tap'
import { createMeshKey } from '../../src/node/mesh-key.ts'
import { grpcClient } from '../support/call-rig.ts'
import { aloneConfig, ECHO_UNIT, LISTEN, meshConfig } from '../support/node-configs.ts'
import { collector } from '../support/log-receivers.ts'
import { nodeHome, type SpawnedNode } from '../support/spawned-node.ts'
import { until } from '../support/until.ts'

const SERVICE = 'echo.v1.EchoService'
const TRACE = '0af7651916cd43dd8448eb211c80319c'

interface Shown {
  readonly unit: string
  readonly method: string
  readonly code: string
  readonly traceId: string
  readonly reason: string
}

async function ingressOf(node: SpawnedNode): Promise<string> {
  const { stdout } = await node.hsu('env', '-o', 'json')
  return (JSON.parse(stdout) as { HSU_INGRESS: string }).HSU_INGRESS
}

for (const [where, isAlone] of [
  ['a node alone', true],
  ['a node whose calls have a thread of their own', false],
] as const) {
  t.test(`${where} shows calls as they end, and logs them`, { timeout: 120_000 }, async (t) => {
    const { home, node } = nodeHome(t)
    const keyFile = join(home, 'mesh.key')
    writeFileSync(keyFile, createMeshKey(), { mode: 0o600 })
    const units = { echo: { ...ECHO_UNIT, services: [SERVICE] } }
    const config = isAlone ? aloneConfig('a', units) : meshConfig('a', keyFile, units)
    const file = join(home, 'access.jsonl')
    const { url, requests } = await collector(t)
    const a = node('a', {
      config: { ...config, node: { name: 'a', listen: LISTEN, access_log: { to: file }, traces: { otlp: url } } },
    })
    await a.start()
    t.equal((await a.hsu('wait', 'echo', '--for', 'ready')).code, 0)
    const { call } = grpcClient(t, await ingressOf(a))
    const metadata = new Metadata()
    metadata.set('traceparent', `00-${TRACE}-b7ad6b7169203331-01`)
    const good = () => call(`/${SERVICE}/Echo`, [Buffer.alloc(0)], { metadata })
    const bad = () => call('/nobody.v1.Here/Get', [Buffer.alloc(0)])

    const all = a.follow('calls', '-f', '-o', 'json')
    const failed = a.follow('calls', '-f', '--failed', '-o', 'json')
    await until('the followers to see', async () => {
      t.equal((await good()).status.code, status.OK)
      t.equal((await bad()).status.code, status.UNIMPLEMENTED)
      return all().length > 1 && failed().length > 0
    })
    const read = (lines: readonly string[]): Shown[] => lines.map((line) => JSON.parse(line) as Shown)
    t.match(
      read(all()).find(({ code }) => code === 'OK'),
      {
        unit: 'echo',
        method: 'Echo',
        code: 'OK',
        traceId: TRACE,
        node: 'a',
        servedBy: 'a',
        door: 'ingress',
        attempts: 1,
      },
    )
    t.match([...new Set(read(failed()).map(({ code }) => code))], ['UNIMPLEMENTED'])
    t.match(read(failed())[0], {
      unit: '',
      method: 'Get',
      reason: 'SERVICE_NOT_FOUND',
      attempts: 0,
      peer: /^127\.0\.0\.1:\d+$/,
    })
    t.match((await a.hsu('calls')).stdout, /echo\.v1\.EchoService +echo +\d/)

    await until('a span to be sent', () => requests.length > 0)
    const text = JSON.stringify(requests[0]?.body)
    t.equal(requests[0]?.url, '/v1/traces')
    t.match(text, `"traceId":"${TRACE}"`)
    t.match(text, '"parentSpanId":"b7ad6b7169203331"')
    t.notMatch(text, 'nobody.v1.Here', 'a call without a trace has no span')

    await good()
    t.equal((await a.hsu('down')).code, 0)
    const logged = read(readFileSync(file, 'utf8').trimEnd().split('\n'))
    t.ok(logged.length >= all().length + 1, 'the last call is in the log too')
    t.match(logged.at(-1), { unit: 'echo', code: 'OK', traceId: TRACE, requestBytes: 5 })
  })
}
