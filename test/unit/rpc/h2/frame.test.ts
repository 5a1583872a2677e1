import fc from 'fast-check'
import t from 'tap'
import { frameFault, lengthAt, putFrameHead, uint31At, uint32At } from '../../../../src/rpc/h2/frame.ts'
import { ErrorCode, Flag, FrameType, Setting } from '../../../../src/rpc/h2/protocol.ts'
import { putSettings, readSettings } from '../../../../src/rpc/h2/settings.ts'

t.test('the head of a frame comes back', async () => {
  fc.assert(
    fc.property(fc.nat(0xff_ffff), fc.nat(255), fc.nat(255), fc.nat(0x7fff_ffff), (length, type, flags, id) => {
      const bytes = Buffer.alloc(12)
      const end = putFrameHead(bytes, 1, length, type, flags, id)
      return (
        end === 10 &&
        lengthAt(bytes, 1) === length &&
        bytes[4] === type &&
        bytes[5] === flags &&
        uint31At(bytes, 6) === id &&
        uint32At(bytes, 6) === id
      )
    }),
  )
})

t.test('settings come back, up to the first that is wrong', async (t) => {
  const read = (settings: readonly (readonly [number, number])[]): [fault: number, taken: unknown[]] => {
    const bytes = Buffer.alloc(settings.length * 6)
    const length = putSettings(bytes, 0, settings)
    const taken: unknown[] = []
    return [readSettings(bytes, 0, length, (id, value) => void taken.push([id, value])), taken]
  }
  const sound: [number, number][] = [
    [Setting.headerTableSize, 0xffff_ffff],
    [Setting.enablePush, 0],
    [Setting.initialWindowSize, 0x7fff_ffff],
    [0x99, 7],
  ]
  t.same(read(sound), [ErrorCode.none, sound])
  t.same(read([[Setting.enablePush, 2]]), [ErrorCode.protocol, []])
  t.same(read([...sound, [Setting.initialWindowSize, 0x8000_0000]]), [ErrorCode.flowControl, sound])
  t.same(read([[Setting.maxFrameSize, 16_383]]), [ErrorCode.protocol, []])
  t.same(read([[Setting.maxFrameSize, 0x100_0000]]), [ErrorCode.protocol, []])
})

t.test('frames of a wrong shape', async (t) => {
  const faults: readonly [
    what: string,
    type: number,
    flags: number,
    streamId: number,
    length: number,
    fault: number,
  ][] = [
    ['DATA on the connection', FrameType.data, 0, 0, 1, ErrorCode.protocol],
    ['SETTINGS on a stream', FrameType.settings, 0, 1, 0, ErrorCode.protocol],
    ['SETTINGS of seven bytes', FrameType.settings, 0, 0, 7, ErrorCode.frameSize],
    ['an acknowledgement with settings', FrameType.settings, Flag.ack, 0, 6, ErrorCode.frameSize],
    ['a short PING', FrameType.ping, 0, 0, 7, ErrorCode.frameSize],
    ['a long RST_STREAM', FrameType.reset, 0, 1, 5, ErrorCode.frameSize],
    ['a short GOAWAY', FrameType.goaway, 0, 0, 7, ErrorCode.frameSize],
    ['WINDOW_UPDATE of a stream', FrameType.windowUpdate, 0, 1, 4, ErrorCode.none],
    ['WINDOW_UPDATE of the connection', FrameType.windowUpdate, 0, 0, 4, ErrorCode.none],
    ['a frame that nobody knows', 0x42, 0xff, 7, 100, ErrorCode.none],
  ]
  for (const [what, type, flags, streamId, length, fault] of faults) {
    t.equal(frameFault(type, flags, streamId, length), fault, what)
  }
})
