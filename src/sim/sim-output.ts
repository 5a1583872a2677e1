import { createTopic } from '../base/topic.ts'
import type { LogLine, LogQuery, Output } from '../process/index.ts'

/** What a program of a unit writes. */
export interface Said {
  /** From its start, in ms. */
  readonly afterMs: number
  readonly line: string
}

export interface SimOutputSeams {
  readonly wallMs: () => number
  readonly later: (ms: number, act: () => void) => void
  readonly saidBy: (unit: string) => Said | undefined
}

/** The output of simulated programs: one line each, if any, and only for who follows or asks what was said. */
export function simOutput({ wallMs, later, saidBy }: SimOutputSeams): Output {
  const lines: LogLine[] = []
  const written = createTopic<LogLine>()

  async function* query({ units, follow }: LogQuery, signal: AbortSignal): AsyncGenerator<LogLine, void, undefined> {
    const isWanted = ({ unit }: LogLine): boolean => units.length === 0 || units.includes(unit)
    let wake = (): void => undefined
    const waiting = lines.filter(isWanted)
    const unsubscribe = written.subscribe((line) => {
      if (isWanted(line)) waiting.push(line)
      wake()
    })
    const end = (): void => wake()
    signal.addEventListener('abort', end)
    try {
      while (!signal.aborted) {
        const next = waiting.shift()
        if (next !== undefined) yield next
        else if (!follow) return
        else await new Promise<void>((resolve) => (wake = resolve))
      }
    } finally {
      unsubscribe()
      signal.removeEventListener('abort', end)
    }
  }

  return {
    capture({ unit, replica, instance, pid, ended }) {
      const said = saidBy(unit)
      let isOpen = true
      if (said !== undefined && ended !== true)
        later(said.afterMs, () => {
          if (!isOpen) return
          const line: LogLine = {
            ...{ wallMs: wallMs(), unit, instance, replica, pid, stream: 'stdout', seq: 0 },
            ...{ line: Buffer.from(said.line), level: undefined, message: undefined },
          }
          lines.push(line)
          written.publish(line)
        })
      const close = async (): Promise<void> => {
        isOpen = false
        for (let at = lines.length - 1; at >= 0; at -= 1) if (lines[at]?.instance === instance) lines.splice(at, 1)
      }
      return {
        close,
        finish: async () => {
          await close()
          return true
        },
      }
    },
    query,
    async *batches() {
      // Nothing is forwarded.
    },
    close: async () => undefined,
  }
}
