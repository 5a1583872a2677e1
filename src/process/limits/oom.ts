import type { Exit } from '../exit.ts'

/** What an out-of-memory kill of the kernel looks like in a parent's eyes; also when the shell that would tell was killed too. */
export function looksKilled(exit: Exit | undefined): boolean {
  return exit === undefined || ('signal' in exit && exit.signal === 'SIGKILL')
}
