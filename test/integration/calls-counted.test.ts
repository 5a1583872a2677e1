import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { createMeshKey } from '../../src/node/mesh-key.ts'
import { aloneConfig, ECHO_UNIT, meshConfig } from '../support/node-configs.ts'
import { nodeHome } from '../support/spawned-node.ts'
import { until } from '../support/until.ts'

interface Counted {
  readonly services: readonly { readonly service: string }[]
  readonly calls: readonly {
    readonly service: string
    readonly unit: string
    readonly calls: number
    readonly failed: number
  }[]
}

const SERVICE = 'echo.v1.EchoService'

for (const [where, isAlone] of [
  ['a node alone', true],
  ['a node whose calls have a thread of their own', false],
] as const) {
  t.test(`${where} tells what became of calls`, { timeout: 120_000 }, async (t) => {
    const { home, node } = nodeHome(t)
    const keyFile = join(home, 'mesh.key')
    writeFileSync(keyFile, createMeshKey(), { mode: 0o600 })
    const units = { echo: { ...ECHO_UNIT, services: [SERVICE] } }
    const a = node('a', { config: isAlone ? aloneConfig('a', units) : meshConfig('a', keyFile, units) })
    await a.start()
    t.equal((await a.hsu('wait', 'echo', '--for', 'ready')).code, 0)
    for (let call = 0; call < 3; call += 1) {
      t.equal((await a.hsu('call', `${SERVICE}/Echo`, '{"message":"hi"}')).code, 0)
    }
    const counted = await until('the calls to be counted', async () => {
      const { stdout } = await a.hsu('services', '--calls', '-o', 'json')
      const { calls } = JSON.parse(stdout) as Counted
      const ofEcho = calls.find(({ service }) => service === SERVICE)
      return ofEcho !== undefined && ofEcho.calls >= 3 ? ofEcho : undefined
    })
    t.match(counted, { unit: 'echo', failed: 0 })
    t.match((await a.hsu('services', '-o', 'wide')).stdout, /P99[^]*echo\.v1\.EchoService +echo +\d/)
    t.match((await a.hsu('top', '--once')).stdout, /calls echo\.v1\.EchoService \(echo\): \d+ calls, 0 failed/)

    const admin = /admin.*?(127\.0\.0\.1:\d+)/.exec((await a.hsu('doctor')).stdout)?.[1]
    const page = await (await fetch(`http://${admin ?? ''}/metrics`)).text()
    t.match(
      page,
      /hsu_route_calls_total\{service="echo\.v1\.EchoService",method="Echo",unit="echo",door="ingress",code="OK"\} 3/,
    )
    t.match(page, /hsu_route_duration_seconds_count\{service="echo\.v1\.EchoService",method="Echo"[^}]*\} 3/)
  })
}
