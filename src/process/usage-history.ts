import type { InstanceStatus } from './status.ts'
import type { Usage } from './usage.ts'

/** Time between two samples that are kept. */
export const STEP_MS = 10_000
/** How far back the history reaches. */
export const KEPT_MS = 3_600_000

/** Samples live in blocks, which are made as they fill, so that a young unit takes little. */
const ROWS = 60
/** One more than an hour needs, because the newest is half empty. */
const MAX_BLOCKS = KEPT_MS / STEP_MS / ROWS + 1
/** Slots kept, those of units that are gone for less than an hour among them. */
const MAX_SLOTS = 10_000

/** What an instance used in the step that ended at `wallMs`: CPU on average, sizes and counts at their largest. */
export interface UsageSample {
  readonly wallMs: number
  readonly instance: string
  readonly usage: Usage
}

/** The samples of one slot of a unit, oldest first. */
export interface UsageSeries {
  readonly unit: string
  readonly replica: number
  readonly samples: readonly UsageSample[]
}

export interface UsageQuery {
  /** Empty = all. */
  readonly units: readonly string[]
  /** Wall clock; undefined = all that is kept. */
  readonly sinceMs: number | undefined
}

/** An hour of usage of each slot, in a bounded amount of memory: at most 29 kB a slot, 6 MB for 200. */
export interface UsageHistory {
  /** Takes note of a reading: of every slot that has a process. */
  note(statuses: readonly InstanceStatus[], now: { readonly wallMs: number; readonly nowMs: number }): void
  query(query: UsageQuery): readonly UsageSeries[]
}

export function createUsageHistory(): UsageHistory {
  const slots = new Map<string, SlotHistory>()
  return {
    note(statuses, now) {
      for (const status of statuses) {
        if (status.usage === undefined) continue
        const name = `${status.unit}/${status.replica}`
        const slot = slots.get(name) ?? new SlotHistory(status)
        if (slot.note(status.instance, status.usage, now)) {
          // The order of the map is that of the last sample, so the oldest are found at its beginning.
          slots.delete(name)
          slots.set(name, slot)
        }
      }
      for (const [name, slot] of slots) {
        if (slots.size <= MAX_SLOTS && now.nowMs - slot.newestMs <= KEPT_MS) break
        slots.delete(name)
      }
    },
    query: ({ units, sinceMs = Number.NEGATIVE_INFINITY }) =>
      [...slots.values()]
        .filter(({ unit }) => units.length === 0 || units.includes(unit))
        .map((slot) => ({ unit: slot.unit, replica: slot.replica, samples: slot.since(sinceMs) })),
  }
}

/** A sample before its end. */
interface Open {
  instance: string
  /** Monotonic; the end of the sample before. */
  readonly beganMs: number
  /** Processor time at its beginning; undefined when the instance began within. */
  readonly cpuMs: number | undefined
  usage: Usage
}

class SlotHistory {
  readonly unit: string
  readonly replica: number
  /** Monotonic time of the newest sample. */
  newestMs = Number.NEGATIVE_INFINITY
  readonly #blocks: Block[] = []
  #open: Open | undefined

  constructor({ unit, replica }: Pick<InstanceStatus, 'unit' | 'replica'>) {
    this.unit = unit
    this.replica = replica
  }

  /** True when it has made a sample of what was noted. */
  note(
    instance: string,
    usage: Usage,
    { wallMs, nowMs }: { readonly wallMs: number; readonly nowMs: number },
  ): boolean {
    const open = this.#open
    if (open === undefined || open.instance !== instance) {
      const beganMs = open?.beganMs ?? Number.NEGATIVE_INFINITY
      this.#open = { instance, beganMs, cpuMs: undefined, usage }
    } else {
      open.usage = peakOf(open.usage, usage)
    }
    return this.#close(nowMs, wallMs)
  }

  /** Ends the open sample when its time has come; a reading may be late or early by a little. */
  #close(nowMs: number, wallMs: number): boolean {
    const open = this.#open
    if (open === undefined || nowMs - open.beganMs < STEP_MS * 0.95) return false
    const { instance, beganMs, cpuMs, usage } = open
    const cpu = cpuMs === undefined ? usage.cpu : (usage.cpuMs - cpuMs) / (nowMs - beganMs)
    this.#append(wallMs, instance, { ...usage, cpu })
    this.newestMs = nowMs
    this.#open = {
      instance,
      beganMs: nowMs,
      cpuMs: usage.cpuMs,
      usage: { cpu: 0, cpuMs: 0, rssBytes: 0, processes: 0 },
    }
    return true
  }

  #append(wallMs: number, instance: string, usage: Usage): void {
    let last = this.#blocks.at(-1)
    if (last === undefined || last.isFull) {
      last = new Block()
      this.#blocks.push(last)
      if (this.#blocks.length > MAX_BLOCKS) this.#blocks.shift()
    }
    last.append({ wallMs, instance, usage })
  }

  since(wallMs: number): UsageSample[] {
    return this.#blocks.flatMap((block) => block.samples()).filter((sample) => sample.wallMs >= wallMs)
  }
}

/** Of sizes and counts the larger, of all else the later. */
function peakOf(before: Usage, now: Usage): Usage {
  const peak: { -readonly [Figure in keyof Usage]: Usage[Figure] } = { ...now }
  for (const figure of PEAKS) {
    const [one, other] = [before[figure], now[figure]]
    if (one !== undefined && other !== undefined && one > other) peak[figure] = one
  }
  return peak
}

const PEAKS = ['rssBytes', 'pssBytes', 'virtualBytes', 'processes', 'threads', 'files'] as const
/** Sizes and counts, of which 24 significant bits are enough. */
const SINGLE = ['cpu', ...PEAKS] as const
/** Counters, whose differences matter. */
const DOUBLE = ['cpuMs', 'ioReadBytes', 'ioWriteBytes'] as const

/** Samples in columns: numbers without objects around them, an absent figure as NaN. */
class Block {
  readonly #wallMs = new Float64Array(ROWS)
  readonly #instances: string[] = []
  readonly #single = new Float32Array(ROWS * SINGLE.length)
  readonly #double = new Float64Array(ROWS * DOUBLE.length)
  #rows = 0

  get isFull(): boolean {
    return this.#rows === ROWS
  }

  append({ wallMs, instance, usage }: UsageSample): void {
    const row = this.#rows
    this.#wallMs[row] = wallMs
    this.#instances.push(instance)
    SINGLE.forEach((figure, at) => (this.#single[row * SINGLE.length + at] = usage[figure] ?? Number.NaN))
    DOUBLE.forEach((figure, at) => (this.#double[row * DOUBLE.length + at] = usage[figure] ?? Number.NaN))
    this.#rows += 1
  }

  samples(): UsageSample[] {
    return Array.from({ length: this.#rows }, (_, row) => ({
      wallMs: this.#wallMs[row] ?? 0,
      instance: this.#instances[row] ?? '',
      usage: this.#usageAt(row),
    }))
  }

  #usageAt(row: number): Usage {
    const figures: [figure: keyof Usage, value: number | undefined][] = [
      ...SINGLE.map((figure, at) => [figure, this.#single[row * SINGLE.length + at]] as [keyof Usage, number]),
      ...DOUBLE.map((figure, at) => [figure, this.#double[row * DOUBLE.length + at]] as [keyof Usage, number]),
    ]
    const known = figures.filter(([, value]) => value !== undefined && !Number.isNaN(value))
    return { cpu: 0, cpuMs: 0, rssBytes: 0, processes: 0, ...Object.fromEntries(known) }
  }
}
