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

/** True for the exit codes and signals of `success`. A code above 128 also stands for the signal that shells report by it. */
export function isSuccess(exit: Exit | undefined, success: readonly (number | string)[] = [0]): boolean {
  if (exit === undefined) return false
  if ('code' in exit) return success.includes(exit.code)
  const number = signalNumber(exit.signal)
  return success.includes(exit.signal) || (number !== undefined && success.includes(SIGNAL_BASE + number))
}

/** `exited with code 3`, `ended by SIGKILL`, or that nobody saw how it ended. */
export function describeExit(exit: Exit | undefined): string {
  if (exit === undefined) return 'ended, its exit status is not known'
  return 'code' in exit ? `exited with code ${exit.code}` : `ended by ${exit.signal}`
}

function signalNumber(name: string): number | undefined {
  return Object.entries(constants.signals).find(([signal]) => signal === name)?.[1]
}

function signalName(number: number): string | undefined {
  return Object.entries(constants.signals).find(([, value]) => value === number)?.[0]
}
