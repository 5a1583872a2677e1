import { linesBackward } from './backward.ts'
import { logFiles, type LogSource, openLogFile } from './files.ts'
import { advance, type Block, decodeBlock, decodeProgress, isProgress, NO_PROGRESS, type Progress } from './record.ts'

/** Instances whose progress is carried on; those longest without a line are forgotten first. */
const MAX_INSTANCES = 16

/** What matters of a block here; its lines may be large. */
type Step = Omit<Block, 'lines' | 'pid'> & { readonly lines: number }

/** How far each instance of a replica is stored. */
export class ProgressBook {
  #progress = new Map<string, Progress>()
  /** Instances that are being read are never forgotten: they would be read again from their start. */
  readonly #held = new Set<string>()

  get all(): ReadonlyMap<string, Progress> {
    return this.#progress
  }

  of(instance: string): Progress {
    return this.#progress.get(instance) ?? NO_PROGRESS
  }

  hold(instance: string): void {
    this.#held.add(instance)
  }

  release(instance: string): void {
    this.#held.delete(instance)
  }

  remember(step: Step): void {
    const progress = advance(this.of(step.instance), step)
    // Deleted first, so that the order of the map is that of the last lines.
    this.#progress.delete(step.instance)
    this.#progress.set(step.instance, progress)
    for (const instance of this.#progress.keys()) {
      if (this.#progress.size <= MAX_INSTANCES) break
      if (!this.#held.has(instance)) this.#progress.delete(instance)
    }
  }

  /** Reads what the log of the replica says; the newest file that says anything has all of it. */
  async load(directory: string, replica: number): Promise<void> {
    for (const file of await logFiles(directory, replica)) {
      const source = await openLogFile(file)
      if (source === undefined) continue
      try {
        const found = await readProgress(source)
        if (found === undefined) continue
        this.#progress = found.progress
        for (const step of found.later) this.remember(step)
        return
      } finally {
        await source.close()
      }
    }
  }
}

interface Found {
  readonly progress: Map<string, Progress>
  readonly later: readonly Step[]
}

/** Goes back to the last record of progress, and gives what came after it. Undefined for a file without a record. */
async function readProgress(source: LogSource): Promise<Found | undefined> {
  const later: Step[] = []
  for await (const { bytes } of linesBackward(source, await source.size())) {
    if (isProgress(bytes)) return { progress: new Map(decodeProgress(bytes)), later: later.reverse() }
    const block = decodeBlock(bytes)
    if (block !== undefined) later.push({ ...block, lines: block.lines.length })
  }
  return later.length === 0 ? undefined : { progress: new Map(), later: later.reverse() }
}
