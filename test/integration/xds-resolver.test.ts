import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as grpc from '@grpc/grpc-js'
import t, { type Test } from 'tap'
import { systemClock } from '../../src/base/system-clock.ts'
import { systemRandom } from '../../src/base/system-random.ts'
import { DEFAULT_ROUTE } from '../../src/rpc/default-route.ts'
import { bootstrapJson } from '../../src/rpc/xds/bootstrap.ts'
import { registerResolver } from '../../src/rpc/xds/resolver.ts'
import { createXdsServer } from '../../src/rpc/xds/xds-server.ts'
import { grpcBackend } from '../support/call-rig.ts'
import { echoAt, type LiteralWorld, literalWorld, SERVICE } from '../support/literal-world.ts'
import { memoryLog } from '../support/memory-log.ts'
import { throwsReason } from '../support/throws-reason.ts'
import { until } from '../support/until.ts'

/** A backend that answers with its name. */
async function named(t: Test, name: string): Promise<string> {
  const { address } = await grpcBackend(t, {
    Who: (call) => {
      call.resume()
      call.on('end', () => {
        call.write(Buffer.from(name))
        call.end()
      })
    },
  })
  return address
}

async function resolverRig(t: Test, world: LiteralWorld) {
  const directory = mkdtempSync(join(tmpdir(), 'hsu-resolver-'))
  const socketPath = join(directory, 'xds.sock')
  const ingress = await named(t, 'ingress')
  const server = createXdsServer(
    {
      ...{ clock: systemClock, random: systemRandom, log: memoryLog(), endpoints: world, nodeId: 'self' },
      routeOf: () => DEFAULT_ROUTE,
      isDraining: () => false,
      viewpoint: () => ({ node: 'here', zone: '', ingress }),
    },
    { socketPath, listen: undefined },
  )
  t.teardown(async () => {
    await server.stop()
    rmSync(directory, { recursive: true, force: true })
  })
  const file = join(directory, 'xds.json')
  writeFileSync(
    file,
    bootstrapJson({ server: `unix://${socketPath}`, client: 'test', mesh: '', node: 'here', zone: '' }),
  )
  registerResolver(grpc, { env: { GRPC_XDS_BOOTSTRAP: file, HSU_INGRESS: ingress }, patienceMs: 100 })
  const client = new grpc.Client(`hsu:///${SERVICE}`, grpc.credentials.createInsecure())
  t.teardown(() => client.close())
  const call = (): Promise<string> =>
    new Promise((resolve, reject) => {
      const options = { deadline: Date.now() + 20_000 }
      const plain = (bytes: Buffer): Buffer => bytes
      client.makeUnaryRequest(`/${SERVICE}/Who`, plain, plain, Buffer.alloc(0), options, (error, answer) => {
        if (error === null) resolve(String(answer))
        else reject(error)
      })
    })
  const change = (...entries: LiteralWorld['entries']): void => {
    world.entries = entries
    server.refresh()
  }
  return { server, call, change }
}

t.test('calls go straight to instances of this host, and elsewhere when these change', async (t) => {
  const one = await named(t, 'one')
  const two = await named(t, 'two')
  const { server, call, change } = await resolverRig(t, literalWorld(echoAt(one)))
  await server.start()
  t.equal(await call(), 'one')
  change(echoAt(one), echoAt(two, { instance: 'echo-1-bbbbbb' }))
  await until('both to answer in turn', async () => new Set([await call(), await call()]).size === 2)
  change()
  await until('the ingress to answer', async () => (await call()) === 'ingress')
})

t.test('the ingress is called while the node does not tell, and the units once it does', async (t) => {
  const { server, call } = await resolverRig(t, literalWorld(echoAt(await named(t, 'one'))))
  t.equal(await call(), 'ingress')
  await server.start()
  await until('the unit to answer', async () => (await call()) === 'one')
  await server.stop()
  t.equal(await call(), 'one', 'what was heard last stays')
})

t.test('without a word of a node there is nothing to register', async (t) => {
  await throwsReason(t, 'NOT_STARTED', () => registerResolver(grpc, { env: {} }))
})
