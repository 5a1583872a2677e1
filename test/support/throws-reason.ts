import type { Test } from 'tap'
import { HsuError, type Reason } from '../../src/base/error.ts'

/** Asserts that `task` throws or rejects with an `HsuError` of `reason`; returns it for further looks. */
export async function throwsReason(t: Test, reason: Reason, task: () => unknown): Promise<HsuError | undefined> {
  try {
    await task()
  } catch (error) {
    if (!(error instanceof HsuError)) throw error
    t.equal(error.reason, reason, error.message)
    return error
  }
  t.fail(`expected HsuError ${reason}, but nothing was thrown`)
  return undefined
}
