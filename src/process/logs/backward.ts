import type { LogSource } from './files.ts'

const BLOCK_BYTES = 256 * 1024
const LF = 0x0a

/** A complete line of a file and where it begins. */
export interface PlacedLine {
  readonly start: number
  readonly bytes: Buffer
}

/** The complete lines of the first `end` bytes, last first, read in blocks from the end. */
export async function* linesBackward(source: Pick<LogSource, 'read'>, end: number): AsyncGenerator<PlacedLine> {
  let position = end
  // The beginning of what lies between `position` and the lines already given.
  let rest = Buffer.alloc(0)
  let complete = false
  while (position > 0) {
    const length = Math.min(BLOCK_BYTES, position)
    position -= length
    const block = await source.read(position, length)
    const text = Buffer.concat([block, rest])
    let to = text.length
    for (let at = lastBreak(text, to); at >= 0; at = lastBreak(text, to)) {
      // What follows the very last line end is not complete, and skipped.
      if (complete) yield { start: position + at + 1, bytes: text.subarray(at + 1, to) }
      complete = true
      to = at
    }
    rest = text.subarray(0, to)
  }
  if (complete) yield { start: 0, bytes: rest }
}

/** The last LF before `to`; -1 when there is none. (To `lastIndexOf`, a negative position counts from the end.) */
function lastBreak(text: Buffer, to: number): number {
  return to === 0 ? -1 : text.lastIndexOf(LF, to - 1)
}
