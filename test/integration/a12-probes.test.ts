import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer as createHttpServer, type RequestListener } from 'node:http'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { GrpcProber } from '../../src/process/probes/grpc.ts'
import { CoreService } from '../../src/rpc/gen/compat/core_pb.ts'
import { EchoService } from '../../src/rpc/gen/echo/v1/echo_pb.ts'
import { Health, HealthCheckResponse_ServingStatus as Serving } from '../../src/rpc/gen/grpc/health/v1/health_pb.ts'
import { createGrpcProber, implement } from '../../src/rpc/index.ts'
import { startGrpcServer } from '../support/grpc-server.ts'
import { fixture } from '../support/paths.ts'
import { processesIn, type Supervised, supervise, workspace } from '../support/supervised.ts'
import { unitSpec } from '../support/unit-spec.ts'
import { until } from '../support/until.ts'

type UnitKeys = Parameters<typeof unitSpec>[1]
type Probes = NonNullable<UnitKeys['probes']>

const SLEEP = ['sleep', '600']
const QUICK = { every: '20ms', timeout: '1s' } as const
const RESTART = { backoff: '0ms..10ms', give_up: '100/1m' } as const

async function listening(t: Test, server: Server, where: number | string = 0): Promise<number> {
  if (typeof where === 'string') server.listen(where)
  else server.listen(where, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return (server.address() as AddressInfo).port
}

async function httpServer(t: Test, handler: RequestListener, where?: string): Promise<number> {
  const server = createHttpServer(handler)
  t.teardown(() => server.closeAllConnections())
  return listening(t, server, where)
}

/** A prober as the node gives it to the supervisor: a no is thrown with its reason. */
function realProber(t: Test): GrpcProber {
  const prober = createGrpcProber()
  t.teardown(() => prober.close())
  return {
    async check(address, what, signal) {
      const fault = await prober.faultOf(address, what, signal)
      if (fault !== '') throw new Error(fault)
      return true
    },
  }
}

/** Runs one unit `u` with these probes. */
async function probed(t: Test, probes: Probes, keys: Omit<UnitKeys, 'probes'> = {}) {
  const directory = workspace(t)
  const world = await supervise(t, directory, { grpc: realProber(t) })
  await world.supervisor.apply([unitSpec('u', { run: SLEEP, restart: RESTART, ...keys, probes }, directory)])
  return { ...world, directory }
}

const countOf = ({ events }: Pick<Supervised, 'events'>, type: string): number =>
  events.filter((event) => event.type === type).length

t.test('http: method, headers and 2xx decide, also through a unix socket', async (t) => {
  let status = 503
  const seen: string[] = []
  const answer: RequestListener = (request, response) => {
    seen.push(`${request.method ?? ''} ${request.url ?? ''} ${String(request.headers['x-probe'])}`)
    response.writeHead(status).end()
  }
  const port = await httpServer(t, answer)
  const http = { url: `http://127.0.0.1:${port}/healthz`, method: 'HEAD', headers: { 'X-Probe': 'hsu' } }
  const world = await probed(t, { ready: { http, ...QUICK, fail: 2 } })
  await until('it is asked', () => seen.length > 2)
  t.match(world.status('u'), { state: 'starting', ready: false })
  status = 204
  await world.until('ready', ({ ready }) => ready, 'u')
  t.equal(seen[0], 'HEAD /healthz hsu')
  status = 302
  const unready = await world.until('withdrawn', ({ ready }) => !ready, 'u')
  t.match(unready, { state: 'up', reason: 'not ready: HTTP 302', restarts: 0 }, 'a ready failure restarts nothing')

  const socket = join(world.directory, 'http.sock')
  await httpServer(t, (_, response) => response.writeHead(200).end(), socket)
  const ready = { http: { url: 'http://unit/', socket: 'http.sock' }, ...QUICK }
  const tcp = { tcp: `unix:${socket}`, ...QUICK }
  const run = SLEEP
  await world.supervisor.apply([
    unitSpec('by-http', { run, probes: { ready } }, world.directory),
    unitSpec('by-tcp', { run, probes: { ready: tcp } }, world.directory),
  ])
  for (const unit of ['by-http', 'by-tcp']) await world.until('ready', (status) => status.ready, unit)
})

t.test(
  'a live failure restarts after as many failures as asked for; flapping below that triggers nothing',
  async (t) => {
    let asked = 0
    let well = (): boolean => asked % 3 === 0
    const port = await httpServer(t, (_, response) => {
      asked += 1
      response.writeHead(well() ? 200 : 500).end()
    })
    const live = { http: `http://127.0.0.1:${port}/`, ...QUICK, fail: 3 }
    const world = await probed(t, { live })
    const first = await world.until('up', ({ state }) => state === 'up', 'u')
    await until('ten rounds of two failures and a success', () => asked >= 30)
    t.match(world.status('u'), { pid: first.pid, state: 'up', ready: true, restarts: 0 })
    t.equal(countOf(world, 'unit.unhealthy'), 0)
    well = () => false
    const next = await world.until('restarted', ({ restarts, state }) => restarts > 0 && state === 'up', 'u')
    t.not(next.pid, first.pid)
    t.match(
      world.events.find(({ type }) => type === 'unit.unhealthy'),
      { reason: 'live probe failed 3 times', cause: 'HTTP 500' },
    )
  },
)

t.test('exec: the exit code decides, and at the timeout the whole group of the checker is killed', async (t) => {
  const world = await probed(t, {
    ready: { exec: ['sh', '-c', 'test -e well'], ...QUICK },
    live: { exec: ['sh', '-c', 'echo $$ >> pids; sleep 600 & echo $! >> pids; wait'], every: '10ms', timeout: '200ms' },
  })
  await until('it runs', () => world.status('u').pid !== undefined)
  t.equal(world.status('u').ready, false)
  writeFileSync(join(world.directory, 'well'), '')
  await world.until('ready', ({ ready }) => ready, 'u')
  await until('the checker hung too often', () => countOf(world, 'unit.unhealthy') > 0)
  await world.supervisor.stop()
  t.ok(readFileSync(join(world.directory, 'pids'), 'utf8').trim().split('\n').length >= 6, 'three checkers ran')
  t.same(processesIn(world.directory), [], 'neither they nor what they started is left')
})

t.test('grpc: health v1, Ping and any unary method', async (t) => {
  let serving = Serving.NOT_SERVING
  let pings = 0
  const address = await startGrpcServer(t, [
    implement(Health, { check: async () => ({ status: serving }) }),
    implement(CoreService, {
      ping: async () => {
        pings += 1
        return {}
      },
    }),
    implement(EchoService, { echo: async () => ({}) }),
  ])
  const ports = { grpc: Number(address.split(':')[1]) }
  const directory = workspace(t)
  const world = await supervise(t, directory, { grpc: realProber(t) })
  const unit = (name: string, grpc: string) =>
    unitSpec(name, { run: SLEEP, ports, probes: { ready: { grpc, owner: 'any', ...QUICK } } }, directory)
  await world.supervisor.apply([
    unit('health', ''),
    unit('ping', '/proto.CoreService/Ping'),
    unit('echo', '/echo.v1.EchoService/Echo'),
    unit('absent', '/echo.v1.EchoService/Join'),
  ])
  for (const each of ['ping', 'echo']) await world.until('ready', ({ ready }) => ready, each)
  t.ok(pings > 0)
  t.equal(world.status('health').ready, false, 'NOT_SERVING is not ready')
  t.equal(world.status('absent').ready, false, 'a method that is not offered is not passing')
  serving = Serving.SERVING
  await world.until('ready', ({ ready }) => ready, 'health')
  serving = Serving.NOT_SERVING
  const { reason } = await world.until('withdrawn', ({ ready }) => !ready, 'health')
  t.equal(reason, 'not ready: its health is NOT_SERVING')
})

t.test('a server that accepts TCP but never answers RPC is healthy by tcp and unhealthy by grpc', async (t) => {
  const run = [process.execPath, fixture('listen.mjs'), 'tcp', '127.0.0.1', '{port.grpc}']
  const ports = { grpc: 'auto' } as const
  const quick = { every: '20ms', timeout: '100ms', fail: 2 } as const
  const world = await probed(
    t,
    { ready: { tcp: '{port.grpc}', ...quick }, live: { grpc: '', ...quick } },
    { run, ports },
  )
  const first = await world.until('ready by tcp', ({ ready }) => ready, 'u')
  await world.until('restarted', ({ restarts }) => restarts > 0, 'u')
  t.match(
    world.events.find(({ type }) => type === 'unit.unhealthy'),
    { instance: first.instance, details: { probe: 'live' }, cause: /./ },
  )
})

t.test('a port held by a process outside the unit is no answer of the unit, unless owner: any says so', async (t) => {
  const port = await listening(
    t,
    createServer((socket) => socket.destroy()),
  )
  const ready = { tcp: String(port), ...QUICK } as const
  const strict = await probed(
    t,
    { start: { within: '300ms' }, ready },
    { ports: { web: port }, restart: { policy: 'no' }, run: ['node', '-e', 'setInterval(() => {}, 1e3)'] },
  )
  // The listener of this test is an ancestor of the unit, not in its tree.
  const { reason } = await strict.until('failed', ({ state }) => state === 'failed', 'u')
  t.match(reason, `not ready within 300ms: port ${port} is answered by a process that is not of this unit`)
  t.match(reason, 'owner: any')
  const lax = await probed(t, { ready: { ...ready, owner: 'any' } }, { ports: { web: port } })
  await lax.until('ready', (status) => status.ready, 'u')
})

t.test('the start probe comes first: until it passed, neither ready nor live is asked', async (t) => {
  const asked = { ready: 0, live: 0 }
  const port = await httpServer(t, (request, response) => {
    asked[request.url === '/ready' ? 'ready' : 'live'] += 1
    response.writeHead(request.url === '/ready' ? 200 : 500).end()
  })
  const url = (path: string): string => `http://127.0.0.1:${port}/${path}`
  const start = { file: 'started', every: '10ms' } as const
  const live = { http: url('live'), ...QUICK, fail: 1, delay: '50ms' } as const
  const world = await probed(t, { start, ready: { http: url('ready'), ...QUICK }, live })
  const { pid } = await world.until('it runs', (status) => status.pid !== undefined, 'u')
  let answers = 0
  await until('the start probe was asked for a while', () => (answers += 1) > 20)
  t.same(asked, { ready: 0, live: 0 })
  t.match(world.status('u'), { pid, state: 'starting', restarts: 0 })
  writeFileSync(join(world.directory, 'started'), '')
  await world.until('ready', ({ ready }) => ready, 'u')
  await until('live is asked at last', () => asked.live > 0)
  await until('and restarts it', () => countOf(world, 'unit.unhealthy') > 0)
})

t.test(
  'a start that fails its probe as often as allowed is ended at once; else within ends it, and says why',
  async (t) => {
    const restart = { policy: 'no' } as const
    const often = await probed(t, { start: { file: 'never', every: '10ms', fail: 2 } }, { restart })
    const failed = await often.until('failed', ({ state }) => state === 'failed', 'u')
    t.match(failed.reason, /^start probe failed: .*never: no such file$/)
    t.match(
      often.events.find(({ type }) => type === 'unit.unhealthy'),
      { details: { probe: 'start', failures: '2' } },
    )
    const late = await probed(t, { start: { file: 'never', every: '10ms', within: '200ms' } }, { restart })
    const { reason } = await late.until('failed', ({ state }) => state === 'failed', 'u')
    t.match(reason, /^not ready within 200ms: .*never: no such file$/)
  },
)

t.test('log: a line on either stream makes it ready, once and for all, after adoption too', async (t) => {
  const directory = workspace(t)
  const says = 'echo begin; while ! test -e go; do sleep 0.05; done; echo "now listening on $PORT" >&2; exec sleep 600'
  const keys: UnitKeys = {
    run: ['sh', '-c', says],
    ports: { http: 'auto' },
    probes: { ready: { log: 'listening on {port.http}$', ...QUICK } },
  }
  const spec = unitSpec('u', keys, directory)
  const first = await supervise(t, directory)
  await first.supervisor.apply([spec])
  await first.until('it runs', ({ pid }) => pid !== undefined, 'u')
  t.equal(first.status('u').ready, false)
  writeFileSync(join(directory, 'go'), '')
  const { pid } = await first.until('ready', ({ ready }) => ready, 'u')
  await first.supervisor.abandon()

  const second = await supervise(t, directory)
  await second.supervisor.apply([spec])
  const adopted = await second.until('ready again', ({ ready }) => ready, 'u')
  t.equal(adopted.pid, pid, 'the same process, which says nothing more')

  await second.supervisor.killUnit('u')
  const again = await second.until('ready anew', ({ ready, pid: now }) => ready && now !== pid, 'u')
  t.equal(again.restarts, 1, 'by a line of its own: what the one before wrote does not count')
  const query = { units: ['u'], follow: false, tail: undefined, sinceMs: undefined, stream: undefined } as const
  let said = 0
  for await (const line of second.supervisor.logs({ ...query, grep: /now listening/ }, new AbortController().signal))
    said += line.unit === 'u' ? 1 : 0
  t.equal(said, 2)
})

t.test('file, process and enabled: false', async (t) => {
  const world = await probed(t, {
    ready: { file: '{unit.name}.ready', ...QUICK },
    live: { exec: ['false'], ...QUICK, enabled: false },
  })
  await world.until('it runs', ({ pid }) => pid !== undefined, 'u')
  t.equal(world.status('u').ready, false)
  writeFileSync(join(world.directory, 'u.ready'), '')
  await world.until('ready', ({ ready }) => ready, 'u')
  t.ok(existsSync(join(world.directory, 'u.ready')))
  t.equal(countOf(world, 'unit.unhealthy'), 0, 'a probe that is not enabled is not there')
  const plain = await probed(t, { ready: { process: true, ...QUICK } })
  await plain.until('ready', ({ ready }) => ready, 'u')
})
