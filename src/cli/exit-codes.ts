import type { HsuError, Reason } from '../base/error.ts'

/** What the exit codes of `hsu` mean. Public API: scripts branch on them. */
// biome-ignore format: a table reads by column
export const EXIT_CODES = {
  0:   'done',
  1:   'failure',
  2:   'the command line or the configuration is wrong',
  3:   'not ready or not running',
  4:   'not found',
  5:   'the node cannot be reached',
  124: 'timed out',
  130: 'interrupted',
} as const

export type ExitCode = keyof typeof EXIT_CODES

/** Exit code of each reason; those that are not here exit 1. */
// biome-ignore format: a table reads by column
const EXIT_CODE_OF: Readonly<Partial<Record<Reason, ExitCode>>> = {
  USAGE:             2,
  CONFIG_INVALID:    2,
  NOT_STARTED:       3,
  NO_ENDPOINT:       3,
  UNIT_FAILED:       3,
  NODE_DRAINING:     3,
  UNIT_NOT_FOUND:    4,
  RUN_NOT_FOUND:     4,
  NODE_NOT_FOUND:    4,
  SERVICE_NOT_FOUND: 4,
  PROCESS_NOT_FOUND: 4,
  NODE_UNREACHABLE:  5,
  TIMED_OUT:         124,
  CANCELLED:         130,
}

/** The exit code of a command that ended with `error`. */
export function exitCodeOf(error: HsuError): ExitCode {
  return EXIT_CODE_OF[error.reason] ?? 1
}
