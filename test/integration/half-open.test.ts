import { randomBytes } from 'node:crypto'
import { connect, createServer, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import type { Transport } from '../../src/mesh/transport.ts'
import { echoTransport } from '../support/echo-transport.ts'
import { until } from '../support/until.ts'

/** Of the private network handshake: what each end sends first. */
const NONCE_BYTES = 24
const MOST_AT_ONCE = 256

const portOf = (transport: Transport): number => Number(transport.addresses()[0]?.split('/')[4])
const seedOf = (transport: Transport): string => `127.0.0.1:${portOf(transport)}`

async function echoes(t: Test, from: Transport, to: Transport): Promise<void> {
  const request = randomBytes(100)
  t.same(Buffer.from(await from.request(to.nodeId, request, new AbortController().signal)), request)
}

t.test('peers that connect and never finish the handshake are given up, and members get in all the same', async (t) => {
  const node = await echoTransport(t, [])
  const member = await echoTransport(t, [seedOf(node)])
  await until('a member is there', () => node.connected().includes(member.nodeId))

  // Whoever may begin a handshake is sent a nonce.
  const begun = new Set<number>()
  const sockets = Array.from({ length: 300 }, (_, index) => {
    const socket = connect(portOf(node), '127.0.0.1')
    t.teardown(() => socket.destroy())
    socket.on('error', () => undefined)
    socket.on('data', () => begun.add(index))
    if (index % 2 === 0) socket.write(randomBytes(NONCE_BYTES))
    return socket
  })
  const open = (): number => sockets.filter(({ closed }) => !closed).length
  await until('some have begun', () => begun.size > 0)
  await echoes(t, member, node)

  const late = await echoTransport(t, [seedOf(node)])
  await until('all are given up', () => open() === 0, 20_000)
  t.ok(begun.size <= MOST_AT_ONCE, `${begun.size} of ${sockets.length} may begin, the others are refused at once`)
  await until('a newcomer is in', () => node.connected().includes(late.nodeId), 20_000)
  await echoes(t, late, node)
  await echoes(t, member, node)
  t.same(node.connected().toSorted(), [member.nodeId, late.nodeId].toSorted(), 'nobody else is taken for a peer')
})

t.test('a seed that accepts and never speaks is given up and tried again, and holds up nobody', async (t) => {
  const sockets: Socket[] = []
  const silent = createServer((socket) => {
    sockets.push(socket)
    socket.on('error', () => undefined)
    socket.resume()
  })
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    silent.close()
  })
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
  const at = `127.0.0.1:${(silent.address() as { port: number }).port}`

  const other = await echoTransport(t, [])
  const node = await echoTransport(t, [at, seedOf(other)])
  await until('the other seed is reached', () => node.connected().includes(other.nodeId))
  let mostOpen = 0
  await until(
    'the silent one is tried again',
    () => {
      mostOpen = Math.max(mostOpen, sockets.filter(({ closed }) => !closed).length)
      return sockets.length > 1
    },
    20_000,
  )
  t.equal(mostOpen, 1, 'one attempt at a time')
  const way = node.ways().find(({ where }) => where === at)
  t.not(way?.fault, '', 'doctor says why')
  t.comment(way?.fault)
  await echoes(t, node, other)
  t.same(node.connected(), [other.nodeId])
})
