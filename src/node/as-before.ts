import type { Clock } from '../base/clock.ts'
import { HsuError } from '../base/error.ts'
import type { InstanceStatus } from '../process/index.ts'
import type { Inheritance } from './succession.ts'

/** How long units may take to show again that they are ready, and other nodes to be found. */
const AS_BEFORE_MS = 15_000
/** Other nodes may have ended meanwhile: they are not waited for as long. */
const MEMBERS_MS = 5_000
/** States are looked at so often; a look is cheap and the wait is short. */
const LOOK_EVERY_MS = 10

export interface StandingNow {
  readonly clock: Clock
  readonly status: () => readonly InstanceStatus[]
  readonly servicesOf: (status: InstanceStatus) => readonly string[]
}

/**
 * Resolves when what was ready is ready again and offers its services: from then on calls find the same endpoints here
 * as in the process before this one. What has ended meanwhile is not waited for; once `gone` aborts, nothing is, for then
 * nobody else serves.
 *
 * @throws HsuError UPGRADE_FAILED naming the instances that did not become ready
 */
export async function untilAsBefore(inheritance: Inheritance, now: StandingNow, gone: AbortSignal): Promise<void> {
  const areReady = (): boolean => missing(inheritance, now).length === 0
  if (await until(areReady, { clock: now.clock, timeoutMs: AS_BEFORE_MS, gone })) return
  const names = missing(inheritance, now).join(', ')
  throw new HsuError('UPGRADE_FAILED', `under the new process these are not ready as they were: ${names}`)
}

/** Resolves when all of `ids` are members again, or it has taken too long: some may have ended meanwhile. */
export async function untilMet(
  ids: readonly string[],
  now: () => readonly string[],
  clock: Clock,
  gone: AbortSignal,
): Promise<void> {
  await until(() => ids.every((id) => now().includes(id)), { clock, timeoutMs: MEMBERS_MS, gone })
}

/** Instances that run and are not (yet) as they were. */
export function missing({ ready, offering }: Inheritance, { status, servicesOf }: StandingNow): readonly string[] {
  const present = new Map(status().map((each) => [each.instance, each]))
  const unready = ready.filter((instance) => present.get(instance)?.ready === false)
  const silent = offering.filter((instance) => {
    const status = present.get(instance)
    return status?.ready === true && servicesOf(status).length === 0
  })
  return [...unready, ...silent]
}

interface Patience {
  readonly clock: Clock
  readonly timeoutMs: number
  readonly gone: AbortSignal
}

/** False when it took too long; true also when `gone` ended the wait. */
async function until(condition: () => boolean, { clock, timeoutMs, gone }: Patience): Promise<boolean> {
  const endsAtMs = clock.nowMs() + timeoutMs
  while (!gone.aborted && !condition()) {
    if (clock.nowMs() >= endsAtMs) return false
    await clock.sleep(LOOK_EVERY_MS, gone).catch(() => undefined)
  }
  return true
}
