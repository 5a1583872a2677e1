import { stripVTControlCharacters } from 'node:util'
import type { Style } from './style.ts'

/** One column of a table. */
export interface Column<T> {
  readonly title: string
  readonly align?: 'right'
  cell(row: T, style: Style): string
}

const GAP = '  '

/** Rows in aligned columns below a heading, without trailing blanks; colours do not count as width. */
export function table<T>(rows: readonly T[], columns: readonly Column<T>[], style: Style): string {
  const cells = rows.map((row) => columns.map((column) => column.cell(row, style)))
  const titles = columns.map(({ title }) => title)
  const widths = titles.map((title, index) => Math.max(width(title), ...cells.map((line) => width(line[index] ?? ''))))
  const layOut = (line: readonly string[]): string =>
    line
      .map((cell, index) => pad(cell, widths[index] ?? 0, columns[index]?.align))
      .join(GAP)
      .trimEnd()
  return [style.strong(layOut(titles)), ...cells.map(layOut)].join('\n')
}

/** The number of columns a text takes on the screen: code points, colours left out. */
function width(text: string): number {
  return Array.from(stripVTControlCharacters(text)).length
}

function pad(text: string, to: number, align: 'right' | undefined): string {
  const blank = ' '.repeat(Math.max(0, to - width(text)))
  return align === 'right' ? blank + text : text + blank
}
