import type { Output, OutputFormat } from './command.ts'
import type { Sink } from './sink.ts'
import type { Style } from './style.ts'

export interface OutputSeams {
  readonly stdout: Sink
  /** Written at once; nobody waits for it. */
  readonly stderr: (text: string | Uint8Array) => void
}

export interface OutputConfig {
  readonly format: OutputFormat
  /** For stdout. */
  readonly style: Style
  /** For stderr. */
  readonly noteStyle: Style
}

const NEWLINE = 0x0a

/** The two forms of output: JSON for programs, text for people. Ends each piece with one line end. */
export function createOutput({ stdout, stderr }: OutputSeams, config: OutputConfig): Output {
  const { format, style, noteStyle } = config
  const json = format === 'json'
  return {
    print: (value, text) => stdout(withLineEnd(json ? JSON.stringify(value, undefined, 2) : text(value, style))),
    line: (value, text) => stdout(withLineEnd(json ? JSON.stringify(value) : text(value, style))),
    note: (line) =>
      stderr(line instanceof Uint8Array ? withLineEnd(line) : `${typeof line === 'string' ? line : line(noteStyle)}\n`),
  }
}

function withLineEnd(text: string | Uint8Array): string | Uint8Array {
  if (typeof text === 'string') return text === '' ? '' : `${text}\n`
  const ended = new Uint8Array(text.length + 1)
  ended.set(text)
  ended[text.length] = NEWLINE
  return ended
}
