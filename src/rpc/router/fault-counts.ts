/** Faults of callers of one kind. Plain data. */
export interface FaultRow {
  /** `ingress` or `link`, as of calls. */
  readonly door: string
  /** What was ended for it. */
  readonly ends: string
  readonly reason: string
  readonly count: number
}

/** Counts what callers do wrong, by door and reason. */
export class FaultCounts {
  readonly #rows = new Map<string, { readonly row: Omit<FaultRow, 'count'>; count: number }>()

  /** `ends` and `reason` are of a few words that we choose. */
  add(door: string, { ends, reason }: Pick<FaultRow, 'ends' | 'reason'>): void {
    const key = `${door} ${ends} ${reason}`
    const known = this.#rows.get(key)
    if (known === undefined) this.#rows.set(key, { row: { door, ends, reason }, count: 1 })
    else known.count += 1
  }

  rows(): readonly FaultRow[] {
    return [...this.#rows.values()].map(({ row, count }) => ({ ...row, count }))
  }
}
