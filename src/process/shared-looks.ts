import type { ProcessIdentity } from './identity.ts'
import { indexTree, type Look, type ProcessInfo } from './process-table.ts'

/** The variables somebody looks for, each with the process that none which has it is older than. */
export type Marks = ReadonlyMap<string, ProcessIdentity | undefined>

/** All processes of one moment, and those that carry each of the marks asked for. */
export interface Scan {
  readonly list: readonly ProcessInfo[]
  readonly marked: ReadonlyMap<string, readonly ProcessInfo[]>
}

interface Batch {
  readonly marks: Map<string, ProcessIdentity | undefined>
  readonly seen: Promise<(mark: string) => Look>
}

/**
 * Makes one scan of all processes serve whoever asks while the one before is made: the end of a thousand instances at once
 * costs some scans, not some thousand. A scan begins after all it serves have asked, so that none is told of the past.
 */
export function sharedLooks(
  scan: (marks: Marks) => Promise<Scan>,
): (mark: string, first?: ProcessIdentity) => Promise<Look> {
  let last: Promise<unknown> = Promise.resolve()
  let next: Batch | undefined

  function begin(): Batch {
    const marks: Batch['marks'] = new Map()
    const seen = last.then(async () => {
      next = undefined
      const { list, marked } = await scan(marks)
      const index = indexTree(list)
      return (mark: string): Look => ({ index, marked: marked.get(mark) ?? [] })
    })
    last = seen.catch(() => undefined)
    return { marks, seen }
  }

  return async (mark, first) => {
    const batch = (next ??= begin())
    batch.marks.set(mark, first)
    return (await batch.seen)(mark)
  }
}
