import type { Report } from './fault.ts'

const LINE = /^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)$/

/**
 * Reads `NAME=value` lines. `#` begins a comment at the start of a line or after a space. Single quotes take all as it
 * is; double quotes know \n, \t, \", \\ and \$. Quoted values end on their line. Variables are not filled in.
 */
export function parseDotenv(text: string, source: string, report: Report): Record<string, string> {
  const values: Record<string, string> = {}
  for (const [index, line] of text
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .entries()) {
    if (/^\s*(#|$)/.test(line)) continue
    const match = LINE.exec(line)
    const value = match === null ? undefined : parseValue((match[2] ?? '').trim())
    if (match?.[1] !== undefined && value !== undefined) {
      values[match[1]] = value
      continue
    }
    const column = line.search(/\S/) + 1
    const fault = match === null ? 'must be NAME=value' : `the quote in the value of ${match[1] ?? ''} is not closed`
    report({ place: { source, line: index + 1, column }, path: [], text: fault })
  }
  return values
}

/** Undefined when a quote is not closed, or something other than a comment follows it. */
function parseValue(raw: string): string | undefined {
  if (raw.startsWith("'")) return /^'([^']*)'\s*(?:#.*)?$/.exec(raw)?.[1]
  if (raw.startsWith('"')) {
    const inside = /^"((?:[^"\\]|\\.)*)"\s*(?:#.*)?$/.exec(raw)?.[1]
    return inside?.replace(/\\(.)/g, (_, char: string) => ESCAPES[char] ?? char)
  }
  return raw.replace(/(^|\s+)#.*$/, '')
}

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r' }
