import { existsSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { eventsOf } from '../support/event-rows.ts'
import { aloneConfig } from '../support/node-configs.ts'
import { fixture } from '../support/paths.ts'
import { nodeHome, type SpawnedNode } from '../support/spawned-node.ts'
import { until } from '../support/until.ts'

/** Below the ports that the system gives away by itself. */
const [ECHO_PORT, BROKEN_PORT] = [28_471, 28_472]

const linesOf = (file: string): number => (existsSync(file) ? readFileSync(file, 'utf8').split('\n').length - 1 : 0)

async function stateOf(node: SpawnedNode, unit: string): Promise<string | undefined> {
  return (await node.json<{ unit: string; state: string }>('ps')).find((row) => row.unit === unit)?.state
}

/** Sends a text and its end; resolves with all that comes back, or how the connection broke. */
function exchange(port: number, text: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    let heard = ''
    socket.on('data', (chunk: Buffer) => (heard += chunk.toString()))
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'))
    socket.once('end', () => resolve(heard))
    socket.end(text)
  })
}

t.test('A28: a TCP connection starts a unit that is no gRPC server, and waits for it', async (t) => {
  const { home, node } = nodeHome(t)
  const starts = join(home, 'starts')
  const program = [process.execPath, fixture('echo-tcp.mjs'), '{port.main}']
  const unit = (more: object): object => ({ ports: { main: 'auto' }, activation: 'on-call', ...more })
  const units = {
    echo: unit({
      run: ['sh', '-c', `echo >> '${starts}'; exec "$@"`, 'sh', ...program],
      listen: { main: ECHO_PORT },
      idle: { stop_after: '1s', hold: '20s' },
    }),
    broken: unit({
      run: ['sh', '-c', 'exit 3'],
      listen: { main: `127.0.0.1:${BROKEN_PORT}` },
      probes: { ready: { tcp: '127.0.0.1:{port.main}' } },
      restart: { backoff: '1h..1h', jitter: '0%' },
    }),
  }
  const alone = node('alone', { config: aloneConfig('alone', units) })
  await alone.start()
  t.equal(await stateOf(alone, 'echo'), 'asleep')

  const texts = Array.from({ length: 100 }, (_, index) => `hello ${index}`)
  t.same(await Promise.all(texts.map((text) => exchange(ECHO_PORT, text))), texts)
  t.equal(linesOf(starts), 1, '100 first connections are one start')
  t.match((await alone.hsu('why', 'echo')).stdout, /a connection to 127\.0\.0\.1:28471|idle for 1s/)

  const open = connect({ port: ECHO_PORT, host: '127.0.0.1' })
  t.teardown(() => open.destroy())
  open.write('first')
  await until('an answer', () => open.bytesRead === 5)
  const startsNow = linesOf(starts)
  const untilMs = Date.now() + 2_500
  await until('more than its idle time to pass', () => Date.now() > untilMs)
  t.equal(await stateOf(alone, 'echo'), 'up', 'an open connection keeps it awake')
  t.equal(linesOf(starts), startsNow)
  open.end()
  await until('it to be asleep', async () => (await stateOf(alone, 'echo')) === 'asleep')
  t.equal(await exchange(ECHO_PORT, 'again'), 'again', 'the next one starts it anew')
  t.equal(linesOf(starts), startsNow + 1)

  t.equal(await exchange(BROKEN_PORT, 'hello'), 'ECONNRESET')
  const [reset] = await until('the event', async () => {
    const events = await eventsOf(alone, 'broken', '--type', 'unit.connections_reset')
    return events.length > 0 && events
  })
  t.match(
    reset?.reason,
    /a connection to 127\.0\.0\.1:28472: unit 'broken' does not take calls: it is backoff: exited with code 3/,
  )
  t.match((await alone.hsu('why', 'broken')).stdout, /exited with code 3/)
})

t.test('A28: the door of a unit goes to the process that takes the place of its node', async (t) => {
  const { node } = nodeHome(t)
  const units = {
    echo: {
      run: [process.execPath, fixture('echo-tcp.mjs'), '{port.main}'],
      ports: { main: 'auto' },
      activation: 'on-call',
      idle: { stop_after: '10m' },
      listen: { main: ECHO_PORT },
    },
  }
  const alone = node('alone', { config: aloneConfig('alone', units) })
  await alone.start()
  const upgraded = await alone.hsu('upgrade')
  t.equal(upgraded.code, 0, upgraded.stderr)
  t.equal(await exchange(ECHO_PORT, 'hello'), 'hello', 'that starts it')
  t.equal(await stateOf(alone, 'echo'), 'up')
  const again = await alone.hsu('upgrade')
  t.equal(again.code, 0, again.stderr)
  t.equal(await exchange(ECHO_PORT, 'again'), 'again')
  t.equal((await alone.hsu('down')).code, 0)
  t.equal(await exchange(ECHO_PORT, 'nobody'), 'ECONNREFUSED')
})
