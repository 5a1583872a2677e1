// Three nodes on this computer, as separate processes with data directories of their own: they find each other by mDNS on
// the loopback interface, run units, route calls, and survive the loss of a unit and of a node. Ends with one line
// `demo: ok  nodes=3 calls=<n> failed=<n> detect_ms=<n> restart_ms=<n>`.
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { EchoClient } from './echo-client.ts'
import { type DemoEvent, DemoNode, leftovers, ROOT, run } from './demo-node.ts'

const NODES = ['a', 'b', 'c'] as const
const LOAD_EVERY_MS = 10

const startedAtMs = Date.now()
const home = mkdtempSync(join(tmpdir(), 'hsu-demo-'))
const nodes = new Map<string, DemoNode>()
const others: ChildProcess[] = []
let step = 'set up'

function say(text: string): void {
  process.stdout.write(`[${((Date.now() - startedAtMs) / 1000).toFixed(1).padStart(5)} s] ${text}\n`)
}

function begin(text: string): void {
  step = text
  say(text)
}

async function show(command: string, node: DemoNode): Promise<void> {
  process.stdout.write(`\n$ hsu ${command}\n${await node.hsu(...command.split(' '))}\n`)
}

interface Tally {
  calls: number
  failed: number
}

async function main(): Promise<void> {
  const python = await hasPythonGrpc()
  const tally: Tally = { calls: 0, failed: 0 }
  await prepare(python)
  await meet(python)
  await callEverything(python, tally)
  const load = startLoad(nodeOf('c').ingress, tally)
  const restartMs = await loseUnit()
  const { detectMs, orphan } = await loseNode(tally)
  await load.stop()
  say(`${tally.calls} calls so far, ${tally.failed} failed`)
  await adopt(orphan)
  await finish()
  const { calls, failed } = tally
  process.stdout.write(
    `demo: ok  nodes=3 calls=${calls} failed=${failed} detect_ms=${detectMs} restart_ms=${restartMs}\n`,
  )
}

async function prepare(python: boolean): Promise<void> {
  begin('making a mesh key and three configurations')
  const keyFile = join(home, 'mesh.key')
  await run([join(ROOT, 'bin', 'hsu'), 'mesh', 'create', '--out', keyFile])
  const legacyArgs = ['86399', `0.${process.pid}`]
  others.push(spawn('sleep', legacyArgs, { stdio: 'ignore', detached: true }))
  for (const name of NODES) {
    const directory = join(home, name)
    mkdirSync(directory)
    const ingress = await freePort()
    writeFileSync(join(directory, 'hsu.yaml'), configOf(name, keyFile, ingress, legacyArgs, python))
    nodes.set(name, new DemoNode(name, directory, ingress))
  }
}

async function meet(python: boolean): Promise<void> {
  begin('starting nodes a, b and c')
  const [a, c] = [nodeOf('a'), nodeOf('c')]
  for (const node of nodes.values()) node.start()
  await until('every node sees three alive', async () => {
    const views = await Promise.all([...nodes.values()].map((node) => node.json<{ status: string }>('nodes')))
    return views.every((view) => view.filter(({ status }) => status === 'alive').length === 3)
  })
  for (const node of nodes.values()) node.followEvents()

  begin('waiting for the units')
  const units = ['echo@a', 'echo@b', 'worker@a', ...(python ? ['echo-python@c'] : [])]
  for (const unit of units) await a.hsu('wait', unit, '--for', 'ready', '--timeout', '20s')
  if (!python) say("(no Python unit: python3 -c 'import grpc' does not work here)")
  await until('c to know both echo endpoints', async () => {
    const services = await c.json<{ service: string; endpoints: { ready: boolean }[] }>('services')
    const echo = services.find(({ service }) => service === 'echo.v1.EchoService')
    return echo?.endpoints.filter(({ ready }) => ready).length === 2
  })
  for (const command of ['nodes', 'ps', 'services']) await show(command, c)
}

async function callEverything(python: boolean, tally: Tally): Promise<void> {
  begin('calling echo on every node through every node, all four kinds of call')
  for (const through of nodes.values()) {
    const client = new EchoClient(through.ingress)
    for (const target of ['a', 'b']) {
      const { node } = await client.echo('hello', { 'hsu-node': target })
      if (node !== target) throw new Error(`asked for node ${target} through ${through.name}, answered by ${node}`)
      await client.expectStreams({ 'hsu-node': target })
      tally.calls += 4
    }
    if (python) {
      const answer = await client.upstreamEcho('hello')
      if (answer !== 'python: hello') throw new Error(`python unit answered '${answer}'`)
      tally.calls += 1
    }
    client.close()
  }
  say(`${tally.calls} calls answered by the unit they were meant for`)
}

/** How long the killed unit was away, in ms. */
async function loseUnit(): Promise<number> {
  begin('killing unit echo on node a (SIGKILL) while calls go on through c')
  const [a, c] = [nodeOf('a'), nodeOf('c')]
  const before = await echoPid(c, 'a')
  const killedAtMs = Date.now()
  process.kill(before, 'SIGKILL')
  const isReady = ({ unit, type }: DemoEvent): boolean => unit === 'echo' && type === 'unit.ready'
  const restartMs = (await a.eventAfter(killedAtMs, isReady)) - killedAtMs
  const after = await echoPid(c, 'a')
  if (after === before) throw new Error('the unit still has the pid that was killed')
  say(`echo on a: pid ${before} -> ${after}, ready again after ${restartMs} ms`)
  return restartMs
}

/** How long until the others knew, in ms, and the pid of the unit that outlived its node. */
async function loseNode(tally: Tally): Promise<{ detectMs: number; orphan: number }> {
  begin('killing node b (SIGKILL) while calls go on through c')
  const [a, b, c] = [nodeOf('a'), nodeOf('b'), nodeOf('c')]
  const orphan = await echoPid(c, 'b')
  const lostAtMs = Date.now()
  b.kill()
  const isLoss = ({ type, details }: DemoEvent): boolean => type === 'member.dead' && details['name'] === 'b'
  const seenAtMs = await Promise.all([a, c].map((node) => node.eventAfter(lostAtMs, isLoss)))
  const detectMs = Math.max(...seenAtMs) - lostAtMs
  say(`a and c know that b is gone after ${detectMs} ms`)
  await until('the endpoints of b to be gone', async () => {
    const services = await c.json<{ endpoints: { node: string }[] }>('services')
    return services.flatMap(({ endpoints }) => endpoints).every(({ node }) => node !== 'b')
  })
  await show('services', c)
  const before = tally.calls
  await until('calls still answered', () => tally.calls - before >= 50)
  return { detectMs, orphan }
}

async function adopt(orphan: number): Promise<void> {
  begin('starting node b again: it adopts the unit that outlived it')
  const b = nodeOf('b')
  b.start()
  await until('b to run the same process', async () => (await echoPid(b, 'b')) === orphan)
  say(`echo on b still has pid ${orphan}`)
}

async function finish(): Promise<void> {
  begin('stopping everything')
  await Promise.all([...nodes.values()].map((node) => node.down()))
  endOthers()
  await until('every process to be gone', () => leftovers(home).length === 0)
  rmSync(home, { recursive: true })
  say('nothing is left')
}

function configOf(name: string, keyFile: string, ingress: number, legacyArgs: string[], python: boolean): string {
  const units: Record<string, object> = {}
  if (name === 'a' || name === 'b') {
    units['echo'] = {
      kind: 'integrated',
      run: [process.execPath, join(ROOT, 'dist/examples/echo-ts/server.js'), '--port', '{port.grpc}'],
      ports: { grpc: 'auto' },
      restart: { policy: 'always', backoff: '50ms..5s' },
    }
  }
  if (name === 'a') {
    units['worker'] = { run: [process.execPath, join(ROOT, 'dist/examples/worker/worker.js')] }
  }
  if (name === 'c') {
    units['legacy'] = { kind: 'unmanaged', find: { name: 'sleep', args: legacyArgs } }
    if (python) {
      units['echo-python'] = {
        kind: 'integrated',
        run: ['python3', join(ROOT, 'examples/echo-python/server.py'), '--port', '{port.grpc}'],
        ports: { grpc: 'auto' },
        services: ['proto.EchoService'],
      }
    }
  }
  // JSON is YAML.
  return JSON.stringify({
    version: 1,
    node: {
      name,
      listen: { ingress: `127.0.0.1:${ingress}`, mesh: '127.0.0.1:0', link: '127.0.0.1:0' },
    },
    mesh: { name: 'demo', key_file: keyFile, discovery: { interfaces: ['lo', 'lo0'] } },
    units,
  })
}

interface Load {
  stop(): Promise<void>
}

/** Calls echo through one node, again and again, and counts; each call has two seconds. */
function startLoad(port: number, tally: Tally): Load {
  const client = new EchoClient(port)
  const over = new AbortController()
  const loop = (async () => {
    while (!over.signal.aborted) {
      tally.calls += 1
      await client.echo('load', {}).catch((error: unknown) => {
        tally.failed += 1
        say(`a call failed: ${String(error)}`)
      })
      await pause(LOAD_EVERY_MS)
    }
    client.close()
  })()
  return {
    stop() {
      over.abort()
      return loop
    },
  }
}

async function echoPid(asked: DemoNode, runs: string): Promise<number> {
  const rows = await asked.json<{ unit: string; node: string; pid: number | null }>('ps')
  const pid = rows.find((row) => row.unit === 'echo' && row.node === runs)?.pid ?? null
  if (pid === null) throw new Error(`hsu ps shows no process of echo on ${runs}`)
  return pid
}

function nodeOf(name: string): DemoNode {
  const node = nodes.get(name)
  if (node === undefined) throw new Error(`no node ${name}`)
  return node
}

async function hasPythonGrpc(): Promise<boolean> {
  return run(['python3', '-c', 'import grpc']).then(
    () => true,
    () => false,
  )
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })
}

async function until(what: string, met: () => boolean | Promise<boolean>, withinMs = 20_000): Promise<void> {
  const deadline = Date.now() + withinMs
  for (;;) {
    if (await Promise.resolve(met()).catch(() => false)) return
    if (Date.now() > deadline) throw new Error(`not within ${withinMs / 1000} s: ${what}`)
    await pause(50)
  }
}

function endOthers(): void {
  for (const child of others.splice(0)) child.kill('SIGTERM')
}

function endEverything(): void {
  for (const node of nodes.values()) node.kill()
  endOthers()
  for (const pid of leftovers(home)) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It ended by itself in the meantime.
    }
  }
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    endEverything()
    rmSync(home, { recursive: true, force: true })
    process.exit(130)
  })
}

try {
  await main()
} catch (error) {
  process.stdout.write(`demo: failed at '${step}': ${error instanceof Error ? error.message : String(error)}\n`)
  for (const node of nodes.values()) {
    const lines = readFileSync(node.logFile, { encoding: 'utf8', flag: 'a+' }).trimEnd().split('\n')
    process.stdout.write(`--- last lines of node ${node.name}\n${lines.slice(-25).join('\n')}\n`)
  }
  endEverything()
  rmSync(home, { recursive: true, force: true })
  process.exitCode = 1
}
