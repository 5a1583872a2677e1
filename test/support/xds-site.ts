import { mkdtempSync, rmSync } from 'node:fs'
import type { ServerHttp2Stream } from 'node:http2'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { systemClock } from '../../src/base/system-clock.ts'
import { type RouteConfig, routeSchema } from '../../src/rpc/config.ts'
import type { Endpoint } from '../../src/rpc/endpoint-source.ts'
import { seeded } from '../../src/sim/seeded.ts'
import { bootstrapJson } from '../../src/rpc/xds/bootstrap.ts'
import { createXdsServer } from '../../src/rpc/xds/xds-server.ts'
import { framed, rawBackend, respondGrpc, startIngress } from './call-rig.ts'
import { echoAt, literalWorld } from './literal-world.ts'
import { memoryLog } from './memory-log.ts'

/** What an instance does with a call. */
export type Behaviour = (stream: ServerHttp2Stream, instance: string) => void

/** Answers with its own name, which the clients count. */
export const answersByName: Behaviour = (stream, instance) => {
  respondGrpc(stream, [framed(Buffer.from(instance))])
}

export interface SiteInstance extends Partial<Endpoint> {
  readonly instance: string
  readonly behave: Behaviour
}

/** Instances, and a node as far as calls know it: an ingress and a control plane that tell of them. */
export async function xdsSite(
  t: Test,
  instances: readonly SiteInstance[],
  routes: Readonly<Record<string, Readonly<Record<string, unknown>>>>,
) {
  const directory = mkdtempSync(join(tmpdir(), 'hsu-xds-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const seen = new Map<string, number>()
  const entries = await Promise.all(
    instances.map(async ({ behave, ...values }) => {
      const { address } = await rawBackend(t, (stream) => {
        seen.set(values.instance, (seen.get(values.instance) ?? 0) + 1)
        behave(stream, values.instance)
      })
      return echoAt(address, values)
    }),
  )
  const parsed = new Map(Object.entries(routes).map(([unit, route]) => [unit, routeSchema.parse(route)]))
  const routeOf = (unit: string): RouteConfig => parsed.get(unit) ?? routeSchema.parse({})
  const world = literalWorld(...entries)
  const ingress = await startIngress(t, world, { routeOf })
  const socketPath = join(directory, 'xds.sock')
  const xds = createXdsServer(
    {
      ...{ clock: systemClock, random: seeded(1), log: memoryLog(), endpoints: world, nodeId: 'self', routeOf },
      isDraining: () => false,
      viewpoint: () => ({ node: 'here', zone: '', ingress: ingress.address() }),
    },
    { socketPath, listen: undefined },
  )
  t.teardown(() => xds.stop())
  await xds.start()
  const bootstrap = { server: `unix://${socketPath}`, client: 'test', mesh: '', node: 'here', zone: '' }
  return {
    env: { GRPC_XDS_BOOTSTRAP_CONFIG: bootstrapJson(bootstrap), HSU_INGRESS: ingress.address() },
    /** Calls that an instance has seen. */
    seen: (instance: string): number => seen.get(instance) ?? 0,
    ingress: ingress.address(),
  }
}
