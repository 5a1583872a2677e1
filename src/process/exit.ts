import { constants } from 'node:os'

/** How a process ended; exactly one of the two. */
export type Exit = { readonly code: number } | { readonly signal: string }

/** Shells report death by signal N as 128 + N (POSIX.1-2017, Shell Command Language 2.8.2). */
const SIGNAL_BASE = 128

/** Reads a shell's `$?`. A program that itself exits with 128 + N cannot be told from one ended by signal N. */
export function exitOfStatus(status: number): Exit {
  const signal = status > SIGNAL_BASE ? signalName(status - SIGNAL_BASE) : undefined
  return signal === undefined ? { code: status } : { signal }
}

/** True for exit code 0. */
export function isSuccess(exit: Exit | undefined): boolean {
  return exit !== undefined && 'code' in exit && exit.code === 0
}

/** `exited with code 3`, `ended by SIGKILL`, or that nobody saw how it ended. */
export function describeExit(exit: Exit | undefined): string {
  if (exit === undefined) return 'ended, its exit status is not known'
  return 'code' in exit ? `exited with code ${exit.code}` : `ended by ${exit.signal}`
}

function signalName(number: number): string | undefined {
  return Object.entries(constants.signals).find(([, value]) => value === number)?.[0]
}
