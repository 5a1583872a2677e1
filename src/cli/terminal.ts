import type { ReadStream, WriteStream } from 'node:tty'
import type { Sink } from './sink.ts'

/** The screen and the keyboard of the person, taken over while something is shown live. */
export interface Terminal {
  size(): { readonly columns: number; readonly rows: number }
  /** Takes the screen over. What was on it before comes back when the returned function is called. */
  open(on: { readonly key: (key: string) => void; readonly resized: () => void }): Promise<() => Promise<void>>
  /** Replaces what is on the screen. */
  show(lines: readonly string[]): Promise<void>
}

// Sequences of xterm, which all terminals in use follow: another screen, no cursor; then back.
const ENTER = '\u001B[?1049h\u001B[?25l'
const LEAVE = '\u001B[?25h\u001B[?1049l'
const HOME = '\u001B[H'
const CLEAR_LINE = '\u001B[K'
const CLEAR_BELOW = '\u001B[J'

/** The size of a terminal that does not tell its own. */
const FALLBACK = { columns: 80, rows: 24 }

/** A key that sends several bytes, such as an arrow, or one character. */
const KEY = /\u001B\[[A-D]|[^]/gu

/** Undefined unless a person sits at both ends. */
export function terminalOf(input: ReadStream, output: WriteStream, sink: Sink): Terminal | undefined {
  if (!input.isTTY || !output.isTTY) return undefined
  return {
    // A terminal may say 0, before it knows.
    size: () => ({ columns: output.columns || FALLBACK.columns, rows: output.rows || FALLBACK.rows }),
    async open({ key, resized }) {
      const onData = (data: Buffer): void => {
        for (const [pressed] of data.toString('latin1').matchAll(KEY)) key(pressed)
      }
      const restore = (): void => {
        input.setRawMode(false)
      }
      // However the process ends, the person's shell must find its terminal as it was.
      process.once('exit', restore)
      input.setRawMode(true)
      input.on('data', onData)
      output.on('resize', resized)
      await sink(ENTER)
      return async () => {
        output.off('resize', resized)
        input.off('data', onData)
        input.pause()
        restore()
        process.off('exit', restore)
        await sink(LEAVE)
      }
    },
    show: (lines) => sink(`${HOME}${lines.map((line) => `${line}${CLEAR_LINE}`).join('\r\n')}${CLEAR_BELOW}`),
  }
}
