/** Facts that go with a log message; names come from the glossary (`unitId`, `nodeId`, `pid`, ...). */
export type Fields = Readonly<Record<string, unknown>>

/**
 * Writes structured lines. The message is constant, the facts are fields.
 * `error` = someone must act; `warn` = degraded but handled; `info` = life cycle; `debug` = per request.
 */
export interface Log {
  debug(message: string, fields?: Fields): void
  info(message: string, fields?: Fields): void
  warn(message: string, fields?: Fields): void
  error(message: string, fields?: Fields): void
  /** A log that adds `fields` to each line. */
  with(fields: Fields): Log
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

/** Swallows everything. For embedders who do not want HSU to write, and for tests. */
export const silentLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  with: () => silentLog,
}
