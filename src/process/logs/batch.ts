import { type Block, isProgress } from './record.ts'

const LF = 0x0a

/** Records that are written together. */
export interface Records {
  readonly bytes: Buffer
  /** Those of them that hold lines; the others state the progress. */
  readonly blocks: readonly Block[]
}

/** Gathers records until they are written. */
export class Batch {
  #parts: Buffer[] = []
  #blocks: Block[] = []
  bytes = 0

  /** `block` is what the record says, when it holds lines. */
  add(record: Buffer, block?: Block): void {
    this.#parts.push(record)
    if (block !== undefined) this.#blocks.push(block)
    this.bytes += record.length
  }

  get hasLines(): boolean {
    return this.#blocks.length > 0
  }

  /** All of it; the batch is empty then. */
  take(): Records {
    const all = { bytes: Buffer.concat(this.#parts, this.bytes), blocks: this.#blocks }
    this.#parts = []
    this.#blocks = []
    this.bytes = 0
    return all
  }
}

/** The lines that are lost when only the first `written` bytes of these records came to the disk. */
export function linesLostBehind(written: number, { bytes, blocks }: Records): number {
  return linesOf(blocks) - linesOf(blocks.slice(0, completeBlocks(bytes.subarray(0, written))))
}

function completeBlocks(bytes: Buffer): number {
  let count = 0
  for (let start = 0, end = bytes.indexOf(LF); end !== -1; start = end + 1, end = bytes.indexOf(LF, start)) {
    if (!isProgress(bytes.subarray(start, end))) count += 1
  }
  return count
}

function linesOf(blocks: readonly Block[]): number {
  return blocks.reduce((sum, { lines }) => sum + lines.length, 0)
}
