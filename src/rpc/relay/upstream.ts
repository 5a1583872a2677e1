import type { Socket } from 'node:net'
import type { FieldList } from '../h2/field-list.ts'
import { DEFAULT_WINDOW_BYTES, ErrorCode, MAX_STREAM_ID, Setting } from '../h2/protocol.ts'
import type { WatchedLink } from '../link-watch.ts'
import type { RelayLoop } from './loop.ts'
import { Connection } from './connection.ts'
import type { FaultReason } from './fault.ts'
import { MAX_LIST_BYTES } from './header-block.ts'
import { CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES } from './windows.ts'

/** Streams on one connection that we open at most, whatever the other side allows. */
const MAX_OPEN_STREAMS = 1_000

/** The stream limit of a server that names none, so that one connection cannot become a bottleneck. */
const DEFAULT_STREAM_LIMIT = 100

/** Long before ids run out a connection is replaced. */
const MAX_USED_ID = MAX_STREAM_ID - 2 ** 20

/** A connection to whoever takes calls: a unit of this host, or the link of another node. */
export class Upstream extends Connection implements WatchedLink {
  /** It has ever had a call. */
  used = false
  /** Called when there is a place for another call, or none any more. */
  onChange: () => void = () => undefined
  #nextId = 1
  #draining = false
  #limit = DEFAULT_STREAM_LIMIT
  #greetings: (() => void)[] = []
  #why = 'the connection was closed'

  constructor(loop: RelayLoop) {
    super(loop, false)
  }

  /** Begins HTTP/2 on a socket that is connected. With `shared`, the socket reads into the arena by itself. */
  start(socket: Socket, shared: boolean): void {
    this.begin(socket, shared)
    this.writer.preface()
    this.writer.settings([
      [Setting.enablePush, 0],
      [Setting.initialWindowSize, STREAM_WINDOW_BYTES],
      [Setting.maxHeaderListSize, MAX_LIST_BYTES],
    ])
    this.writer.windowUpdate(0, CONNECTION_WINDOW_BYTES - DEFAULT_WINDOW_BYTES)
  }

  /** Resolves once the other side's SETTINGS have come: whatever fails before has reached nobody. @throws Error why it did not */
  greeting(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.greeted) resolve()
      this.#greetings.push(resolve)
      this.onceClosed(() => reject(new Error(this.#why)))
    })
  }

  get usable(): boolean {
    return !this.#draining && !this.closed
  }

  get free(): number {
    return this.usable ? this.#limit - this.sides.size : 0
  }

  get destroyed(): boolean {
    return this.closed
  }

  once(_event: 'close', listener: () => void): void {
    this.onceClosed(listener)
  }

  ping(answered: () => void): void {
    this.pings.ask(answered)
  }

  nextStreamId(): number {
    this.used = true
    const id = this.#nextId
    this.#nextId += 2
    if (id > MAX_USED_ID) this.retire()
    return id
  }

  /** Takes no new calls and closes when those under way have ended. */
  retire(): void {
    this.#draining = true
    this.#endWhenIdle()
  }

  override sideClosed(): void {
    this.#endWhenIdle()
    this.onChange()
  }

  protected override get lastId(): number {
    return 0
  }

  protected override isIdle(id: number): boolean {
    return id >= this.#nextId || (id & 1) === 0
  }

  protected override onFields(id: number, list: FieldList, end: boolean): void {
    const side = this.sides.get(id)
    if (side !== undefined) side.call.onResponse(list, end)
    else if (this.isIdle(id)) this.fail(ErrorCode.protocol, 'an answer to nothing')
  }

  protected override onOversized(id: number): void {
    const side = this.sides.get(id)
    if (side !== undefined) this.endSide(side, ErrorCode.enhanceYourCalm)
  }

  protected override onSetting(id: number, value: number): void {
    if (id === Setting.maxConcurrentStreams) this.#limit = Math.min(value, MAX_OPEN_STREAMS)
    if (id !== 0) return
    for (const greeted of this.#greetings.splice(0)) greeted()
    this.onChange()
  }

  protected override onGoaway(lastStreamId: number): void {
    this.#draining = true
    for (const side of this.sides.values()) {
      if (side.id > lastStreamId) side.call.onLost(false)
    }
    this.#endWhenIdle()
    this.onChange()
  }

  /** Ours are reset all the time, and what was under way then is of no interest. */
  protected override onLateData(): void {
    // Nothing is to be done.
  }

  protected override onResetByUs(): void {
    // Nothing is to be remembered.
  }

  protected override onPeerReset(): void {
    // Units reset what they like.
  }

  protected override onClosed(): void {
    this.#draining = true
    for (const side of this.sides.values()) side.call.onLost(true)
    this.onChange()
  }

  protected override onSideFault(): void {
    // The call is told, and counted.
  }

  protected override onFault(_reason: FaultReason, why: string): void {
    this.#why = why
  }

  #endWhenIdle(): void {
    if (this.#draining && this.sides.size === 0 && !this.closed) {
      this.output.flush()
      this.socket?.destroySoon()
      this.close()
    }
  }
}
