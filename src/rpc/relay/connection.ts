import { BlockReader, type FieldList } from '../h2/field-list.ts'
import { frameFault, uint31At, uint32At } from '../h2/frame.ts'
import { HpackDecoder } from '../h2/hpack-decoder.ts'
import {
  DEFAULT_WINDOW_BYTES,
  ErrorCode,
  Flag,
  FRAME_HEAD_BYTES,
  FrameType,
  MAX_WINDOW_BYTES,
  Setting,
} from '../h2/protocol.ts'
import { readSettings } from '../h2/settings.ts'
import type { FaultReason } from './fault.ts'
import { FrameBudget } from './frame-budget.ts'
import { HeaderBlock, MAX_LIST_BYTES, MAX_LIST_FIELDS } from './header-block.ts'
import type { RelayLoop } from './loop.ts'
import type { Side, SideConnection } from './side.ts'
import { SlotTable } from './slot-table.ts'
import { StalledSides } from './stalled-sides.ts'
import { Windows } from './windows.ts'
import { Wire } from './wire.ts'

/** An HTTP/2 connection, either end of it. Whatever goes wrong on it ends it, and nothing else. */
export abstract class Connection extends Wire implements SideConnection {
  readonly sides = new SlotTable<Side>()
  readonly windows: Windows
  /** The other side's SETTINGS have come. */
  greeted = false
  /** What may be sent on the connection, and on a stream at first. */
  sendWindow = DEFAULT_WINDOW_BYTES
  peerStreamWindow = DEFAULT_WINDOW_BYTES
  protected readonly budget = new FrameBudget()
  protected readonly block = new HeaderBlock()
  readonly #reader: BlockReader
  readonly #stalled: StalledSides

  constructor(loop: RelayLoop, keepsLists: boolean) {
    super(loop, keepsLists)
    this.#stalled = new StalledSides(this)
    const decoder = new HpackDecoder({ maxFields: MAX_LIST_FIELDS, maxBytes: MAX_LIST_BYTES })
    this.#reader = new BlockReader(decoder, loop.list)
    this.windows = new Windows(this.writer)
  }

  // What the two ends have of their own.

  /** A stream of this id has never been open, so that nothing may be said on it. */
  protected abstract isIdle(id: number): boolean
  /** A block of fields for a stream; they are good until this returns. */
  protected abstract onFields(id: number, list: FieldList, end: boolean): void
  /** More fields than we take. */
  protected abstract onOversized(id: number, end: boolean): void
  protected abstract onSetting(id: number, value: number): void
  protected abstract onGoaway(lastStreamId: number, code: number): void
  /** A frame of a stream that is over. */
  protected abstract onLateData(id: number): void
  /** The stream of a side is over. */
  abstract sideClosed(): void
  protected abstract onResetByUs(id: number): void
  /** The stream of a side was reset for a fault of its own. */
  protected abstract onSideFault(code: number): void
  /** The other side has reset a stream of its own. */
  protected abstract onPeerReset(side: Side): void

  /** Sends part of a message to a side of this connection. */
  sendData(side: Side, bytes: Buffer, at: number, size: number, end: boolean): void {
    side.sendWindow -= size
    this.sendWindow -= size
    this.budget.earn()
    this.writer.data(side.id, bytes, at, size, end)
  }

  /** Resets a stream of this connection, for faults of others. */
  resetId(id: number, code: number): void {
    this.writer.reset(id, code)
    this.onResetByUs(id)
  }

  /** Resets the stream of a side for a fault of its own. */
  endSide(side: Side, code: number): void {
    this.resetId(side.id, code)
    this.onSideFault(code)
    side.call.onReset(side, side.near ? code : ErrorCode.internal)
  }

  protected override onDrain(): void {
    this.#stalled.pump()
  }

  stall(side: Side): void {
    this.#stalled.add(side)
  }

  unstall(side: Side): void {
    this.#stalled.delete(side)
  }

  protected override onFrame(bytes: Buffer, at: number, length: number): void {
    const type = bytes[at + 3] ?? 0
    const flags = bytes[at + 4] ?? 0
    const id = uint31At(bytes, at + 5)
    const fault = frameFault(type, flags, id, length)
    if (fault !== ErrorCode.none) {
      this.fail(fault, 'a frame has a wrong shape')
      return
    }
    if (!this.greeted && type !== FrameType.settings) {
      this.fail(ErrorCode.protocol, 'SETTINGS do not come first')
      return
    }
    const from = at + FRAME_HEAD_BYTES
    if (this.block.id !== 0 && (type !== FrameType.continuation || id !== this.block.id)) {
      this.fail(ErrorCode.protocol, 'a header block is interrupted')
      return
    }
    switch (type) {
      case FrameType.data: {
        this.#data(bytes, from, length, flags, id)
        return
      }
      case FrameType.headers: {
        this.#headers(bytes, from, length, flags, id)
        return
      }
      case FrameType.continuation: {
        this.#continuation(bytes, from, length, flags)
        return
      }
      case FrameType.windowUpdate: {
        this.#windowUpdate(id, uint31At(bytes, from))
        return
      }
      case FrameType.reset: {
        this.#reset(id, uint32At(bytes, from))
        return
      }
      case FrameType.ping: {
        this.#ping(bytes, from, flags)
        return
      }
      case FrameType.settings: {
        this.#settings(bytes, from, length, flags)
        return
      }
      case FrameType.goaway: {
        this.onGoaway(uint31At(bytes, from), uint32At(bytes, from + 4))
        return
      }
      case FrameType.priority: {
        this.#priority(bytes, from, length, id)
        return
      }
      case FrameType.pushPromise: {
        this.fail(ErrorCode.protocol, 'PUSH_PROMISE is not allowed')
        return
      }
      default:
        this.#spend('frames that nobody knows', 'unknown_frame_flood')
    }
  }

  #data(bytes: Buffer, from: number, length: number, flags: number, id: number): void {
    let start = from
    let size = length
    if ((flags & Flag.padded) !== 0) {
      const padding = bytes[from] ?? 0
      if (padding >= length) {
        this.fail(ErrorCode.protocol, 'padding is longer than its frame')
        return
      }
      start += 1
      size -= 1 + padding
    }
    if (this.isIdle(id)) {
      this.fail(ErrorCode.protocol, 'DATA on a stream that is not open')
      return
    }
    if (!this.windows.received(length)) {
      this.fail(ErrorCode.flowControl, 'more DATA than the window allows')
      return
    }
    const end = (flags & Flag.endStream) !== 0
    if (size === 0 && !end) this.#spend('empty DATA', 'data_flood')
    else this.budget.earn()
    const side = this.sides.get(id)
    if (side === undefined) {
      this.windows.passed(length)
      this.onLateData(id)
      return
    }
    if (side.ended) {
      this.windows.passed(length)
      this.endSide(side, ErrorCode.streamClosed)
      return
    }
    side.receiveWindow -= length
    if (side.receiveWindow < 0) {
      this.windows.passed(length)
      this.endSide(side, ErrorCode.flowControl)
      return
    }
    side.call.onData(side, bytes, start, size, length, end)
  }

  #headers(bytes: Buffer, from: number, length: number, flags: number, id: number): void {
    let start = from
    let end = from + length
    if ((flags & Flag.padded) !== 0) {
      end -= bytes[from] ?? 0
      start += 1
    }
    if ((flags & Flag.priority) !== 0) {
      if (start + 5 <= end && uint31At(bytes, start) === id) {
        this.fail(ErrorCode.protocol, 'a stream depends on itself')
        return
      }
      start += 5
    }
    if (start > end) {
      this.fail(ErrorCode.protocol, 'padding is longer than its frame')
      return
    }
    if ((flags & Flag.endHeaders) === 0) {
      this.block.begin(id, flags, bytes.subarray(start, end), this.loop.nowMs)
      return
    }
    this.#decode(id, bytes, start, end, (flags & Flag.endStream) !== 0)
  }

  #continuation(bytes: Buffer, from: number, length: number, flags: number): void {
    const { block } = this
    const { id, end } = block
    if (id === 0) {
      this.fail(ErrorCode.protocol, 'CONTINUATION of nothing')
      return
    }
    if (!block.add(bytes.subarray(from, from + length))) {
      this.fail(ErrorCode.enhanceYourCalm, 'a header block that does not end', 'continuation_flood')
      return
    }
    if ((flags & Flag.endHeaders) === 0) return
    const whole = block.complete()
    this.#decode(id, whole, 0, whole.length, end)
  }

  #decode(id: number, bytes: Buffer, start: number, end: number, endStream: boolean): void {
    const list = this.#reader.read(bytes, start, end)
    if (list === undefined) this.fail(ErrorCode.compression, 'a header block makes no sense')
    else if (this.#reader.oversized) this.onOversized(id, endStream)
    else this.onFields(id, list, endStream)
  }

  #windowUpdate(id: number, bytes: number): void {
    if (id === 0) {
      if (bytes === 0) {
        this.fail(ErrorCode.protocol, 'WINDOW_UPDATE of nothing')
        return
      }
      this.sendWindow += bytes
      if (this.sendWindow > MAX_WINDOW_BYTES) {
        this.fail(ErrorCode.flowControl, 'a window is too large')
        return
      }
      this.#spend('WINDOW_UPDATE', 'window_update_flood')
      this.#stalled.pump()
      return
    }
    if (this.isIdle(id)) {
      this.fail(ErrorCode.protocol, 'WINDOW_UPDATE on a stream that is not open')
      return
    }
    this.#spend('WINDOW_UPDATE', 'window_update_flood')
    const side = this.sides.get(id)
    if (side === undefined) return
    side.sendWindow += bytes
    if (bytes === 0) this.endSide(side, ErrorCode.protocol)
    else if (side.sendWindow > MAX_WINDOW_BYTES) this.endSide(side, ErrorCode.flowControl)
    else if (side.queue !== undefined) side.call.pump(side)
  }

  #reset(id: number, code: number): void {
    if (this.isIdle(id)) {
      this.fail(ErrorCode.protocol, 'RST_STREAM on a stream that is not open')
      return
    }
    this.#spend('RST_STREAM', 'rst_stream_flood')
    const side = this.sides.get(id)
    if (side === undefined) return
    this.onPeerReset(side)
    side.call.onReset(side, code)
  }

  #ping(bytes: Buffer, from: number, flags: number): void {
    if ((flags & Flag.ack) !== 0) {
      this.pings.answered()
      return
    }
    this.#spend('PING', 'ping_flood')
    if (this.sides.size > 0) this.pings.answerLater(bytes, from)
    else this.pings.answer(bytes, from)
  }

  #settings(bytes: Buffer, from: number, length: number, flags: number): void {
    if ((flags & Flag.ack) !== 0) {
      if (!this.greeted) this.fail(ErrorCode.protocol, 'SETTINGS do not come first')
      return
    }
    this.#spend('SETTINGS', 'settings_flood')
    const fault = readSettings(bytes, from, length, (id, value) => this.#setting(id, value))
    if (fault !== ErrorCode.none) {
      this.fail(fault, 'SETTINGS are wrong')
      return
    }
    this.writer.acknowledgeSettings()
    this.greeted = true
    this.onSetting(0, 0)
    this.#stalled.pump()
  }

  #setting(id: number, value: number): void {
    if (id === Setting.headerTableSize) this.writer.encoder.limit(value)
    else if (id === Setting.initialWindowSize) {
      const more = value - this.peerStreamWindow
      this.peerStreamWindow = value
      for (const side of this.sides.values()) {
        side.sendWindow += more
        if (side.sendWindow > MAX_WINDOW_BYTES) this.fail(ErrorCode.flowControl, 'a window is too large')
        else if (side.queue !== undefined) this.stall(side)
      }
    } else this.onSetting(id, value)
  }

  #priority(bytes: Buffer, from: number, length: number, id: number): void {
    this.#spend('PRIORITY', 'priority_flood')
    const side = this.sides.get(id)
    const wrong =
      length !== 5 ? ErrorCode.frameSize : uint31At(bytes, from) === id ? ErrorCode.protocol : ErrorCode.none
    if (wrong === ErrorCode.none) return
    if (side === undefined) this.writer.reset(id, wrong)
    else this.endSide(side, wrong)
  }

  #spend(what: string, reason: FaultReason): void {
    if (!this.budget.spend()) this.fail(ErrorCode.enhanceYourCalm, `a flood of ${what}`, reason)
  }
}
