import type { Fields, Log, LogLevel } from '../../src/base/log.ts'

export interface Entry {
  readonly level: LogLevel
  readonly message: string
  readonly fields: Fields
}

/** A log that keeps what is written, for tests to look at. */
export interface MemoryLog extends Log {
  readonly entries: readonly Entry[]
}

export function memoryLog(): MemoryLog {
  const entries: Entry[] = []
  return { ...writer(entries, {}), entries }
}

function writer(entries: Entry[], base: Fields): Log {
  const write =
    (level: LogLevel) =>
    (message: string, fields: Fields = {}): void =>
      void entries.push({ level, message, fields: { ...base, ...fields } })
  return {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    with: (fields) => writer(entries, { ...base, ...fields }),
  }
}
