import { createServer, type Socket } from 'node:net'
import { once } from 'node:events'
import fc from 'fast-check'
import { status } from '@grpc/grpc-js'
import t from 'tap'
import { Flag, FrameType, PREFACE } from '../../src/rpc/h2/protocol.ts'
import { RelayLoop } from '../../src/rpc/relay/loop.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { echo, framed, grpcBackend, grpcClient, startIngress } from '../support/call-rig.ts'
import { echoAt, literalWorld } from '../support/literal-world.ts'
import { block, callBlock, frame, RawClient, settings } from '../support/raw-frames.ts'
import { until } from '../support/until.ts'

/** `npm run fuzz` sets it: seconds for each of the two ends. */
const SECONDS = Number(process.env['HSU_FUZZ_SECONDS'] ?? '3')

const LONG_MS = SECONDS * 1_000 + 60_000

const payload = fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes))
const id = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(1, 3, 5, 7) },
  { weight: 1, arbitrary: fc.nat(0x7fff_ffff) },
  fc.constant(0),
)
const head = fc.constantFrom(
  callBlock(),
  callBlock('Hang'),
  callBlock('Unary', ['grpc-timeout=5S', 'x-bin=AAEC', 'hsu-unit=echo']),
  callBlock('Nothing', ['content-length=3']),
  block([':status=200', 'content-type=application/grpc']),
  block(['grpc-status=0', 'grpc-message=ok']),
)
const flags = fc.oneof(fc.constantFrom(0, 1, 4, 5, 8, 0x20, 0x2d), fc.nat(255))

/** Frames that make sense by themselves, in an order that does not, some of them damaged. */
const frames = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc
        .tuple(flags, id, head)
        .map(([flags, id, block]) => frame(FrameType.headers, flags | Flag.endHeaders, id, block)),
    },
    {
      weight: 4,
      arbitrary: fc
        .tuple(flags, id, payload)
        .map(([flags, id, bytes]) => frame(FrameType.data, flags, id, framed(bytes))),
    },
    {
      weight: 3,
      arbitrary: fc
        .tuple(fc.nat(11), flags, id, payload)
        .map(([type, flags, id, bytes]) => frame(type, flags, id, bytes)),
    },
    {
      weight: 2,
      arbitrary: fc
        .tuple(id, fc.nat(0xffff))
        .map(([id, bytes]) => frame(8, 0, id, Buffer.of(0, 0, bytes >> 8, bytes & 255))),
    },
    { weight: 1, arbitrary: id.map((id) => frame(FrameType.reset, 0, id, Buffer.of(0, 0, 0, 8))) },
    { weight: 1, arbitrary: fc.tuple(fc.nat(6), fc.nat()).map(([key, value]) => settings([key, value])) },
    { weight: 1, arbitrary: payload },
  ),
  { maxLength: 25 },
)

/** Where the bytes are cut into writes. */
const cut = fc.integer({ min: 1, max: 400 })

t.test('whatever a caller sends harms nobody else and leaves nothing', { timeout: LONG_MS }, async (t) => {
  const hang = (): void => undefined
  const backend = await grpcBackend(t, { Unary: echo, Hang: hang, Bidi: echo })
  const loop = new RelayLoop({ clock: systemClock })
  const ingress = await startIngress(t, literalWorld(echoAt(backend.address)), { loop })
  const good = grpcClient(t, ingress.address())
  const run = async (frames: readonly Buffer[], step: number): Promise<void> => {
    const client = new RawClient(t, ingress.address())
    const bytes = Buffer.concat(frames)
    for (let at = 0; at < bytes.length; at += step) client.socket.write(bytes.subarray(at, at + step))
    client.socket.end()
    await until('it ends', () => client.closed)
    client.socket.destroy()
  }
  await fc.assert(fc.asyncProperty(frames, cut, run), { numRuns: 1_000_000, interruptAfterTimeLimit: SECONDS * 1_000 })
  const { status: ended } = await good.call('Unary', [Buffer.from('x')])
  t.equal(ended.code, status.OK)
  await until('no call is left', () => ingress.inFlight('echo-0-aaaaaa') === 0 && loop.calls === 0)
  await until('all memory is given back', () => loop.arena.used === 0)
})

t.test('whatever a unit sends harms nobody else and leaves nothing', { timeout: LONG_MS }, async (t) => {
  let answer: { bytes: Buffer; step: number } = { bytes: Buffer.alloc(0), step: 1 }
  const sockets = new Set<Socket>()
  const unit = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('close', () => sockets.delete(socket))
    socket.write(settings())
    let asked = false
    socket.on('data', (chunk: Buffer) => {
      // The first read has the preface; the call comes with one of the next.
      if (asked || chunk.subarray(0, 3).equals(PREFACE.subarray(0, 3))) return
      asked = true
      const { bytes, step } = answer
      for (let at = 0; at < bytes.length; at += step) socket.write(bytes.subarray(at, at + step))
      socket.end()
    })
  })
  unit.listen(0, '127.0.0.1')
  await once(unit, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    unit.close()
  })
  const backend = await grpcBackend(t, { Unary: echo })
  const bound = unit.address()
  const bad = `127.0.0.1:${typeof bound === 'object' ? bound?.port : 0}`
  const loop = new RelayLoop({ clock: systemClock })
  const world = literalWorld(echoAt(bad, { unit: 'bad', instance: 'bad-0-bbbbbb' }), echoAt(backend.address))
  const ingress = await startIngress(t, world, { loop })
  const run = async (frames: readonly Buffer[], step: number): Promise<void> => {
    answer = { bytes: Buffer.concat(frames), step }
    const client = new RawClient(t, ingress.address())
    client.send(frame(FrameType.headers, 5, 1, callBlock('Unary', ['hsu-unit=bad'])))
    await client.stream(1)
    client.socket.destroy()
  }
  await fc.assert(fc.asyncProperty(frames, cut, run), { numRuns: 1_000_000, interruptAfterTimeLimit: SECONDS * 1_000 })
  const { status: ended } = await grpcClient(t, ingress.address()).call('Unary', [Buffer.from('x')])
  t.ok([status.OK, status.UNAVAILABLE, status.INTERNAL, status.CANCELLED].includes(ended.code))
  await until('no call is left', () => loop.calls === 0 && ingress.inFlight('bad-0-bbbbbb') === 0)
  await until('all memory is given back', () => loop.arena.used === 0)
})
