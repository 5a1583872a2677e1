import { type Logger, pino } from 'pino'
import { HsuError } from './error.ts'
import type { Fields, Log, LogLevel } from './log.ts'

export interface PinoLogOptions {
  readonly level: LogLevel
  /** The file descriptor to write to, synchronously, so that nothing is lost when the process dies. 2 = stderr. */
  readonly fd: number
}

/**
 * A `Log` that writes one JSON object a line with pino: `{time, level, msg, ...fields}`, time in RFC 3339.
 * Never throws: a line that cannot be written is lost.
 */
export function pinoLog({ level, fd }: PinoLogOptions): Log {
  const options = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { error: describeError },
  }
  const destination = pino.destination({ fd, sync: true })
  // A disk that is full costs lines of the log, never the node.
  destination.removeAllListeners('error')
  destination.on('error', () => undefined)
  return adapt(pino(options, destination))
}

function adapt(logger: Logger): Log {
  const write =
    (level: LogLevel) =>
    (message: string, fields: Fields = {}): void => {
      try {
        logger[level](fields, message)
      } catch {
        // The line is lost: the disk is full, or the descriptor was closed.
      }
    }
  return {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    with: (fields) => adapt(logger.child(fields)),
  }
}

function describeError(thrown: unknown): unknown {
  if (!(thrown instanceof Error)) return thrown
  const { reason, details } = HsuError.from(thrown)
  if (thrown instanceof HsuError && reason !== 'INTERNAL') return { reason, message: thrown.message, details }
  return { reason, message: thrown.message, stack: thrown.stack }
}
