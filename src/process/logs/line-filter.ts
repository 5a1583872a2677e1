import type { LineText } from './record.ts'

/** Gives those of the lines that are kept. */
export type LineFilter = (lines: readonly LineText[]) => readonly LineText[]

export const KEEP_ALL: LineFilter = (lines) => lines

/** Keeps the lines that match one of `include`, if there are any, and none of `exclude`. */
export function lineFilter(include: readonly RegExp[], exclude: readonly RegExp[]): LineFilter {
  if (include.length === 0 && exclude.length === 0) return KEEP_ALL
  const isKept = (line: LineText): boolean => {
    const text = typeof line === 'string' ? line : line.toString('latin1')
    if (exclude.some((pattern) => pattern.test(text))) return false
    return include.length === 0 || include.some((pattern) => pattern.test(text))
  }
  return (lines) => lines.filter(isKept)
}
