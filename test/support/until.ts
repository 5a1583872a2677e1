import { setTimeout as pause } from 'node:timers/promises'

/** Waits until `predicate` gives something other than false or undefined, and returns it; asks every few milliseconds. */
export async function until<T>(
  what: string,
  predicate: () => T | Promise<T>,
  withinMs = 60_000,
): Promise<Exclude<T, false | undefined>> {
  const deadline = Date.now() + withinMs
  for (;;) {
    const answer = await predicate()
    if (answer !== false && answer !== undefined) return answer as Exclude<T, false | undefined>
    if (Date.now() > deadline) throw new Error(`not within ${withinMs} ms: ${what}`)
    await pause(10)
  }
}
