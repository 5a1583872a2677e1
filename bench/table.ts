/** One measured figure; `samples` are single readings. */
export interface Row {
  readonly what: string
  readonly unit: string
  readonly samples: readonly number[]
  readonly goal?: string
}

export function median(samples: readonly number[]): number {
  const sorted = samples.toSorted((one, other) => one - other)
  const middle = Math.floor(sorted.length / 2)
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}

/** The smallest sample that `percent` of them do not exceed (nearest rank). */
export function percentile(samples: readonly number[], percent: number): number {
  const sorted = samples.toSorted((one, other) => one - other)
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)] ?? Number.NaN
}

/** For programs: the figures of the table, unrounded. */
export function renderJson(rows: readonly Row[]): string {
  const figures = rows.map(({ samples, ...row }) => {
    const spread = { median: median(samples), min: Math.min(...samples), max: Math.max(...samples) }
    return { ...row, ...spread, runs: samples.length }
  })
  return JSON.stringify(figures, undefined, 2)
}

/** A Markdown table: median, smallest and largest of each row. */
export function render(rows: readonly Row[]): string {
  const body = rows.map(({ what, unit, samples, goal = '' }) => {
    const figures = [median(samples), Math.min(...samples), Math.max(...samples)].map(short)
    return `| ${[what, unit, ...figures, samples.length, goal].join(' | ')} |`
  })
  return ['| what | unit | median | min | max | runs | goal |', '|---|---|---|---|---|---|---|', ...body].join('\n')
}

function short(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)
}
