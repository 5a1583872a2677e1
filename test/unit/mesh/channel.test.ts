import t from 'tap'
import { Channel, type ChannelStream, serveChannel, TOO_LARGE } from '../../../src/mesh/libp2p/channel.ts'
import { encodeFrame, FRAME_KINDS, FrameReader, MAX_FRAME_CONTENT_BYTES } from '../../../src/mesh/libp2p/frames.ts'
import { giveCreditInBatches } from '../../../src/mesh/libp2p/stream-credit.ts'
import { throwsReason } from '../../support/throws-reason.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)
const never = (): AbortSignal => new AbortController().signal

/** One end of a stream in memory; what is sent arrives in the next turn, unless the other end does not read. */
class FakeStream extends EventTarget {
  other: FakeStream | undefined
  status = 'open'
  writeBufferLength = 0
  maxWriteBufferLength?: number
  sent = 0
  /** The other end takes nothing off the line. */
  stuck = false

  send(data: Uint8Array): boolean {
    this.sent += 1
    if (this.stuck) {
      this.writeBufferLength += data.length
      return false
    }
    void Promise.resolve().then(() => this.other?.arrive(data))
    return true
  }

  arrive(data: Uint8Array): void {
    if (this.status === 'open') this.dispatchEvent(Object.assign(new Event('message'), { data }))
  }

  abort(): void {
    for (const end of [this, this.other]) {
      if (end?.status !== 'open') continue
      end.status = 'aborted'
      end.dispatchEvent(new Event('close'))
    }
  }
}

function pair(): { asking: FakeStream; answering: FakeStream } {
  const [asking, answering] = [new FakeStream(), new FakeStream()]
  asking.other = answering
  answering.other = asking
  return { asking, answering }
}

const asStream = (stream: FakeStream): ChannelStream => stream as unknown as ChannelStream

function channelTo(answer: (bytes: Uint8Array) => Promise<Uint8Array>) {
  const { asking, answering } = pair()
  serveChannel(asStream(answering), answer)
  return { channel: new Channel(asStream(asking), 'b'), asking, answering }
}

t.test('frames', async (t) => {
  t.test('come out as they went in, wherever the bytes are cut', async (t) => {
    const all = Buffer.concat([
      encodeFrame(FRAME_KINDS.ask, 1, bytes('one')),
      encodeFrame(FRAME_KINDS.answer, 0xffff_ffff, bytes('')),
      encodeFrame(FRAME_KINDS.large, 3, new Uint8Array(MAX_FRAME_CONTENT_BYTES)),
    ])
    for (const step of [1, 3, 8, 9, 10, 1_000, all.length]) {
      const reader = new FrameReader()
      const seen: unknown[] = []
      for (let at = 0; at < all.length; at += step) {
        for (const { kind, id, bytes } of reader.read(all.subarray(at, at + step))) seen.push([kind, id, bytes.length])
      }
      t.same(
        seen,
        [
          [1, 1, 3],
          [2, 0xffff_ffff, 0],
          [4, 3, MAX_FRAME_CONTENT_BYTES],
        ],
        `cut each ${step} bytes`,
      )
    }
  })

  t.test('of a length that no frame has are refused before their content comes', async (t) => {
    const lengthOf = (length: number): Uint8Array => {
      const header = Buffer.alloc(4)
      header.writeUInt32BE(length)
      return header
    }
    for (const length of [0, 4, MAX_FRAME_CONTENT_BYTES + 6, 0xffff_ffff]) {
      await throwsReason(t, 'LIMIT_EXCEEDED', async () => new FrameReader().read(lengthOf(length)))
    }
  })
})

t.test('channel', async (t) => {
  t.test('answers find the request they belong to, in whatever order they come', async (t) => {
    const release: (() => void)[] = []
    const { channel } = channelTo(async (question) => {
      await new Promise<void>((resolve) => release.push(resolve))
      return bytes(`echo ${text(question)}`)
    })
    const asked = ['a', 'b', 'c'].map((question) => channel.request(bytes(question), never()))
    await turns()
    for (const next of release.toReversed()) next()
    t.same(
      (await Promise.all(asked)).map((answer) => text(answer as Uint8Array)),
      ['echo a', 'echo b', 'echo c'],
    )
    t.equal(channel.waiting, 0)
  })

  t.test('a refusal ends that request alone, and a large answer is announced', async (t) => {
    const { channel } = channelTo(async (question) => {
      if (text(question) === 'bad') throw new Error('no')
      return text(question) === 'big' ? new Uint8Array(MAX_FRAME_CONTENT_BYTES + 1) : bytes('fine')
    })
    await throwsReason(t, 'NODE_UNREACHABLE', () => channel.request(bytes('bad'), never()))
    t.equal(await channel.request(bytes('big'), never()), TOO_LARGE)
    t.same(await channel.request(bytes('good'), never()), bytes('fine'))
  })

  t.test('a request that was given up leaves nothing behind, and its late answer harms none', async (t) => {
    let release = (): void => undefined
    const { channel } = channelTo(async () => {
      await new Promise<void>((resolve) => (release = resolve))
      return bytes('late')
    })
    const abort = new AbortController()
    const given = channel.request(bytes('x'), abort.signal)
    await turns()
    abort.abort()
    await throwsReason(t, 'TIMED_OUT', () => given)
    await throwsReason(t, 'TIMED_OUT', () => channel.request(bytes('x'), abort.signal))
    t.equal(channel.waiting, 0)
    release()
    await turns()
    t.ok(channel.isOpen)
  })

  t.test('when the stream breaks, all that waits fails at once and nothing more is taken', async (t) => {
    const { channel, answering } = channelTo(() => new Promise(() => undefined))
    const asked = [1, 2, 3].map(() => channel.request(bytes('x'), never()))
    for (const each of asked) each.catch(() => undefined)
    await turns()
    answering.abort()
    for (const each of asked) await throwsReason(t, 'NODE_UNREACHABLE', () => each)
    await throwsReason(t, 'NODE_UNREACHABLE', () => channel.request(bytes('x'), never()))
    t.equal(channel.waiting, 0)
  })

  t.test('waiting requests are bounded, and so is what a peer that does not read is owed', async (t) => {
    const silent = channelTo(() => new Promise(() => undefined))
    for (let count = 0; count < 64; count += 1) void silent.channel.request(bytes('x'), never()).catch(() => undefined)
    await throwsReason(t, 'NODE_UNREACHABLE', () => silent.channel.request(bytes('x'), never()))
    silent.asking.abort()

    const { channel, asking } = channelTo(() => new Promise(() => undefined))
    asking.stuck = true
    const abort = new AbortController()
    for (let count = 0; count < 1_000; count += 1) {
      // Each gives up after its time, as a ping does.
      const each = new AbortController()
      void channel.request(new Uint8Array(200), each.signal).catch(() => undefined)
      each.abort()
    }
    t.ok(asking.writeBufferLength < 66_000, `${asking.writeBufferLength} bytes`)
    await throwsReason(t, 'NODE_UNREACHABLE', () => channel.request(bytes('x'), abort.signal))
  })

  t.test('a peer that asks and does not read the answers loses the channel', async (t) => {
    const { channel, answering } = channelTo(async () => new Uint8Array(10_000))
    answering.stuck = true
    for (let count = 0; count < 20; count += 1) void channel.request(bytes('x'), never()).catch(() => undefined)
    await turns()
    t.notOk(channel.isOpen)
    t.ok(answering.writeBufferLength < 80_000, `${answering.writeBufferLength} bytes`)
  })

  t.test('garbage breaks the channel; kinds of a later version are passed over', async (t) => {
    const { channel, answering } = channelTo(async () => bytes('fine'))
    const later = encodeFrame(9 as 1, 1, bytes('?'))
    answering.arrive(later)
    answering.send(later)
    t.same(await channel.request(bytes('x'), never()), bytes('fine'))
    answering.arrive(bytes('GET / HTTP/1.1\r\n\r\n'))
    t.notOk(channel.isOpen)
  })
})

t.test('a stream is told only now and then that more may be sent', async (t) => {
  const told: string[] = []
  const stream = { sendPause: () => told.push('pause'), sendResume: () => told.push('resume') }
  const credit = giveCreditInBatches(stream)
  for (let count = 0; count < 1_000; count += 1) credit(100)
  t.same(told, ['resume', 'pause', 'resume', 'pause'])
  giveCreditInBatches({})(100_000)
  t.pass('a stream that has no such thing is left as it is')
})

function turns(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
