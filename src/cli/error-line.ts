import type { HsuError, Reason } from '../base/error.ts'

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

/**
 * An error as stderr shows it: `hsu: what failed, why, what to do`, on one line.
 * Only the faults of a configuration keep a line each, because each has a place of its own in the file.
 */
export function errorLine({ reason, message, details }: HsuError): string {
  const text =
    reason === 'CONFIG_INVALID' || 'faults' in details ? message.trimEnd() : message.trim().replace(/\s*\n\s*/g, '; ')
  const advice = ADVICE[reason]
  const known = advice === undefined || /hsu [a-z]/.test(text) || text.includes('--timeout')
  return `hsu: ${known ? text : `${text}; ${advice}`}`
}
