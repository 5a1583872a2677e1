import { type Logger, pino } from 'pino'
import { HsuError } from './error.ts'
import type { Fields, Log, LogLevel } from './log.ts'

export interface PinoLogOptions {
  readonly level: LogLevel
  /** The file descriptor to write to, synchronously, so that nothing is lost when the process dies. 2 = stderr. */
  readonly fd: number
}

/** A `Log` that writes one JSON object a line with pino: `{time, level, msg, ...fields}`, time in RFC 3339. */
export function pinoLog({ level, fd }: PinoLogOptions): Log {
  const options = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { error: describeError },
  }
  return adapt(pino(options, pino.destination({ fd, sync: true })))
}

function adapt(logger: Logger): Log {
  const write =
    (level: LogLevel) =>
    (message: string, fields: Fields = {}): void =>
      logger[level](fields, message)
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
