import { compareIds, type EventDisk } from '../node/index.ts'

/** An event disk in memory, which outlives the logs that use it and can be full, or tear what is written. */
export class SimEventDisk implements EventDisk {
  readonly files = new Map<string, { text: string; modifiedMs: number }>()
  /** Bytes that still fit on the whole disk. */
  room = Infinity
  /** Also refuses to cut what it took half. */
  stuck = false
  syncs = 0
  reads = 0
  readonly #wallMs: () => number

  constructor(wallMs: () => number) {
    this.#wallMs = wallMs
  }

  get bytes(): number {
    return [...this.files.values()].reduce((sum, { text }) => sum + text.length, 0)
  }

  async list() {
    return [...this.files]
      .map(([id, { text, modifiedMs }]) => ({ id, bytes: text.length, modifiedMs }))
      .sort((one, other) => compareIds(one.id, other.id))
  }

  async read(id: string): Promise<string> {
    this.reads += 1
    return this.files.get(id)?.text ?? ''
  }

  async append(id: string, text: string): Promise<void> {
    const before = this.files.get(id)?.text ?? ''
    const taken = text.slice(0, this.room)
    this.files.set(id, { text: before + taken, modifiedMs: this.#wallMs() })
    this.room -= taken.length
    if (taken.length < text.length) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })
  }

  async sync(): Promise<void> {
    this.syncs += 1
  }

  async truncate(id: string, bytes: number): Promise<void> {
    if (this.stuck) throw new Error('input/output error')
    const file = this.files.get(id)
    if (file !== undefined) file.text = file.text.slice(0, bytes)
  }

  async remove(id: string): Promise<void> {
    this.files.delete(id)
  }

  async close(): Promise<void> {
    // Nothing is held open.
  }
}
