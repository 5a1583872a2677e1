import type { Cell, LimitBackend } from './backend.ts'

/**
 * Limits of single processes (setrlimit(2)), which every POSIX system has. Only the number of open files is worth it: the others
 * count what nobody means (address space, all processes of a user, seconds of processor time in all).
 *
 * They are set by the instance's own shell, so the limits of the node cannot change.
 */
export const rlimits: LimitBackend = {
  name: 'rlimits',
  enforces: new Map([['files', 'rlimit nofile']]),
  gathers: false,
  slowsMemory: false,
  cell: () => RLIMIT_CELL,
  found: () => undefined,
  sweep: async () => undefined,
}

const RLIMIT_CELL: Cell = {
  places: [],
  gathers: false,
  hold: async () => undefined,
  enter: async () => undefined,
  // Only root may raise it above what the node itself has; others get that.
  prelude: ({ files }) => (files === undefined ? '' : `ulimit -n ${files} 2>/dev/null || ulimit -n "$(ulimit -H -n)"`),
  pids: async () => [],
  kill: async () => undefined,
  freeze: async () => undefined,
  read: async () => ({}),
  remove: async () => true,
}
