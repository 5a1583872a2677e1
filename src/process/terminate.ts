import { aborted, withSignal } from '../base/abort.ts'
import { type Clock, TIMED_OUT, within } from '../base/clock.ts'
import { HsuError } from '../base/error.ts'
import type { Cell } from './limits/backend.ts'
import type { Child, Kin, Left, ProcessHost } from './host.ts'
import type { ProcessIdentity } from './identity.ts'
import { markOf } from './launch.ts'
import { identityOf, lookAt, treeOf } from './process-table.ts'

/** How long helpers of a program may go on after it ended, within the grace: they had the same signal. */
const STRAGGLER_MS = 1_000

/** Waits between two looks at a killed tree: from the first to the longest. */
const POLL_MS = { first: 5, longest: 500 } as const

/** The leader ends by itself once it has reaped the program and recorded its end; killed, it could do neither. */
const LEADER_MS = 1_000

/** A killed process that is not gone after this hangs in the kernel; nobody can end it. */
const MAX_KILL_MS = 30_000

export interface TerminatePolicy {
  readonly signal: NodeJS.Signals
  readonly graceMs: number
  /** Asks in another way than by the signal, which follows when this has ended and the program has not. */
  readonly command?: ((signal: AbortSignal) => Promise<void>) | undefined
}

/** False when some process was still there long after it was killed. */
export type AllGone = boolean

/**
 * Asks the whole group to end, waits `graceMs`, then kills what is left of the group and of the tree under it.
 * Resolves when all are gone. @throws the signal's reason; then some may live on
 */
export async function terminate(
  host: ProcessHost,
  child: Child,
  policy: TerminatePolicy,
  clock: Clock,
  outer: AbortSignal,
): Promise<AllGone> {
  const cell = await host.cellOf(child.directory)
  const known = await membersOf(host, child, cell, [])
  const endMs = clock.nowMs() + policy.graceMs
  const leftMs = (): number => Math.max(0, endMs - clock.nowMs())
  const { command } = policy
  if (command !== undefined) await untilEnded(child, clock, leftMs(), outer, command)
  await attempt(host.signalGroup(child, policy.signal))
  const ended = await untilEnded(child, clock, leftMs(), outer)
  if (ended !== TIMED_OUT) await untilGone(host, child, cell, known, Math.min(STRAGGLER_MS, leftMs()), clock, outer)
  return killTree(host, child, known, clock, outer)
}

/** Waits until the program has ended, or `command` has; at most `withinMs`. @throws the signal's reason */
async function untilEnded(
  { exited }: Child,
  clock: Clock,
  withinMs: number,
  outer: AbortSignal,
  command?: (signal: AbortSignal) => Promise<void>,
): Promise<unknown> {
  const ended = await withSignal(outer, (signal) =>
    within(
      clock,
      withinMs,
      Promise.race([exited, aborted(signal), ...(command === undefined ? [] : [command(signal)])]),
    ),
  )
  outer.throwIfAborted()
  return ended
}

/** Kills what is left of an instance whose program ended while nobody looked. Resolves when all are gone. */
export async function sweep(host: ProcessHost, left: Left, clock: Clock, signal: AbortSignal): Promise<AllGone> {
  const nobody: ProcessIdentity = { pid: 0, startTime: '', bootId: await host.table.bootId() }
  const kin = { directory: left.directory, leader: left.leader ?? nobody, main: left.main ?? nobody }
  return killTree(host, kin, [], clock, signal)
}

/** Kills the group, the tree and the cell of `kin`, and those of `known` that still live. Resolves when all are gone. */
export async function killTree(
  host: ProcessHost,
  kin: Kin,
  known: readonly ProcessIdentity[],
  clock: Clock,
  signal: AbortSignal,
): Promise<AllGone> {
  const startMs = clock.nowMs()
  const cell = await host.cellOf(kin.directory)
  let members = await membersOf(host, kin, cell, known)
  const isOver = async (): Promise<boolean> => members.length === 0 && (await isEmpty(cell))
  for (let waitMs: number = POLL_MS.first; !(await isOver()); waitMs = Math.min(waitMs * 2, POLL_MS.longest)) {
    const elapsedMs = clock.nowMs() - startMs
    if (elapsedMs > MAX_KILL_MS) return false
    const late = elapsedMs >= LEADER_MS
    // All at once, for some start others faster than they are killed one by one; the leader is to have its turn first.
    if (late || members.every(({ pid }) => pid !== kin.leader.pid)) await cell?.kill()
    for (const member of members) {
      if (late || member.pid !== kin.leader.pid) await attempt(host.signal(member, 'SIGKILL'))
    }
    if (late) await attempt(host.signalGroup(kin, 'SIGKILL'))
    await clock.sleep(waitMs, signal)
    members = await membersOf(host, kin, cell, members)
  }
  return true
}

/** Also of processes that the table does not show: they are too new, or hidden from us. */
async function isEmpty(cell: Cell | undefined): Promise<boolean> {
  return cell === undefined || (await cell.pids()).length === 0
}

/** A process that became another user's may refuse our signals; whether it is gone in the end is what counts. */
async function attempt(signalling: Promise<boolean>): Promise<void> {
  await signalling.catch((error: unknown) => {
    if (!(error instanceof HsuError)) throw error
  })
}

async function untilGone(
  host: ProcessHost,
  kin: Kin,
  cell: Cell | undefined,
  known: readonly ProcessIdentity[],
  withinMs: number,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  const endMs = clock.nowMs() + withinMs
  for (let waitMs: number = POLL_MS.first; clock.nowMs() < endMs; waitMs = Math.min(waitMs * 2, POLL_MS.longest)) {
    if ((await membersOf(host, kin, cell, known)).length === 0) return
    await clock.sleep(Math.min(waitMs, endMs - clock.nowMs()), signal)
  }
}

/**
 * The living processes of the instance: its group, its session, its cell, all descendants, those with its mark, those known
 * from before.
 */
async function membersOf(
  { table }: ProcessHost,
  { leader, main, directory }: Kin,
  cell: Cell | undefined,
  known: readonly ProcessIdentity[],
): Promise<readonly ProcessIdentity[]> {
  const before = (await cell?.pids()) ?? []
  const bootId = await table.bootId()
  const { index, marked } = await lookAt(table, markOf(directory), leader)
  // Whoever is in the cell before and after has not got its pid from one of them in between.
  const after = new Set(before.length === 0 ? [] : await cell?.pids())
  const { byPid } = index
  const inCell = before.flatMap((pid) => (after.has(pid) ? (byPid.get(pid) ?? []) : []))
  const isStill = ({ pid, startTime, bootId: boot }: ProcessIdentity): boolean =>
    boot === bootId && byPid.get(pid)?.startTime === startTime
  const own = [...marked, ...inCell].map((info) => identityOf(info, bootId))
  const roots = [...known, leader, main, ...own].filter(isStill)
  // A pid nobody has now may still number the group or session its owner left behind.
  const left = [leader, main].filter(({ pid, bootId: boot }) => pid > 0 && boot === bootId && !byPid.has(pid))
  const members = new Map([...roots, ...left].flatMap(({ pid }) => treeOf(pid, index)).map((info) => [info.pid, info]))
  return [...members.values()].map((info) => identityOf(info, bootId))
}
