import { type HsuError, type Reason, systemCode } from '../base/error.ts'

/** What to do next, for errors whose message does not say so. */
const ADVICE: Readonly<Partial<Record<Reason, string>>> = {
  UNIT_NOT_FOUND: '`hsu ps` lists the units of the whole mesh',
  NODE_NOT_FOUND: '`hsu nodes` lists the nodes',
  SERVICE_NOT_FOUND: '`hsu services` lists what is offered',
  NO_ENDPOINT: '`hsu services` shows its endpoints',
  NODE_UNREACHABLE: '`hsu nodes` shows what the mesh knows of it',
  NOT_STARTED: 'start a node with `hsu up`',
  UNIT_FAILED: '`hsu describe` and `hsu logs` tell why',
  TIMED_OUT: 'allow more time with --timeout',
  INTERNAL: 'this is a fault in HSU, please report it',
}

/** Faults of the host, not of this program, by the code of the operating system. */
const HOST_ADVICE: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full: make room below the data directory, which --data-dir or HSU_DATA_DIR names',
  EDQUOT: 'the quota of the disk is used up: make room below the data directory',
  EROFS: 'the file system is mounted read-only: mount it for writing, or choose another data directory with --data-dir',
}

/**
 * An error as stderr shows it: `hsu: what failed, why, what to do`, on one line.
 * Only the faults of a configuration keep a line each, because each has a place of its own in the file.
 */
export function errorLine({ reason, message, details, cause }: HsuError): string {
  const text =
    reason === 'CONFIG_INVALID' || 'faults' in details ? message.trimEnd() : message.trim().replace(/\s*\n\s*/g, '; ')
  const advice = HOST_ADVICE[systemCode(cause) ?? ''] ?? ADVICE[reason]
  const known = advice === undefined || /hsu [a-z]/.test(text) || text.includes('--timeout')
  return `hsu: ${known ? text : `${text}; ${advice}`}`
}
