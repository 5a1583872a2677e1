import { withSignal } from '../../base/abort.ts'
import { below } from '../../base/random.ts'
import type { TaskGroup } from '../../base/task-group.ts'
import type { MeshTiming } from '../config.ts'
import type { Rumour } from '../member.ts'
import type { Entry } from '../membership.ts'
import { createHearing, type Hearing } from './hearing.ts'
import { createPingOrder, type PingOrder } from './ping-order.ts'
import { type Pace, patience } from './pace.ts'
import type { Pinger, PingSeams } from './pinger.ts'
import type { Stalls } from './stalls.ts'
import { confirmationsWanted, suspicionMinMs, suspicionMs } from './suspicion.ts'

export interface DetectorSeams extends Pick<PingSeams, 'clock' | 'random' | 'membership' | 'awareness'> {
  /** Node id of this node. */
  readonly self: string
  readonly tasks: TaskGroup
  readonly pinger: Pinger
  readonly stalls: Stalls
  readonly pace: Pace
  /** Tells everybody what this node found out itself. */
  readonly spread: (rumour: Rumour) => void
}

/** How many members, on average, ping a suspect as soon as they hear of it; in a small mesh all do. */
const VERIFIERS = 8

/** Rest between two tries to reach a suspect, as a part of the ping timeout. */
const RETRY_SHARE = 0.5

/** Part of the ping period that is added or removed at random, so that nodes do not fall into step. */
const PERIOD_JITTER = 0.1

/** A suspicion that is being followed: by one task that waits for its end and one that tries to reach the suspect. */
interface Watch {
  readonly wakers: Set<() => void>
  /** When the suspect last answered a ping, by the monotonic clock. */
  reachedAtMs: number | undefined
}

/**
 * Finds out who is gone: SWIM's round of pings, pings through others, suspicion, and at its end a verdict. A verdict
 * is only spoken by a node that could not reach the member itself.
 */
export class Detector {
  readonly #seams: DetectorSeams
  readonly #timing: MeshTiming
  readonly #order: PingOrder
  readonly #hearing: Hearing
  readonly #watches = new Map<string, Watch>()

  constructor(seams: DetectorSeams, timing: MeshTiming) {
    this.#seams = seams
    this.#timing = timing
    this.#order = createPingOrder(seams.random)
    this.#hearing = createHearing(seams, timing)
  }

  /** Begins the round of pings, which ends with the task group. */
  start(): void {
    this.#seams.tasks.run((signal) => this.#rounds(signal))
  }

  /**
   * The last connection to a member is gone: a strong hint, so it is suspect and asked at once. A node that has just woken
   * finds all its connections gone, which is news of itself: it tries to reach the member first.
   */
  connectionLost(nodeId: string): void {
    if (this.#judgedFromMs(nodeId) <= this.#seams.clock.nowMs()) this.#accuse(nodeId, true)
    else this.#seams.tasks.run((signal) => this.#verify(nodeId, signal))
  }

  /** A member asked or answered something: it lives, and need not be pinged soon. */
  heardFrom(nodeId: string): void {
    this.#order.heard(nodeId, this.#seams.clock.nowMs())
    this.#hearing.heard()
  }

  /** A member answered a ping after `ms`, perhaps too late for whoever waited for it. */
  answered(nodeId: string, ms: number): void {
    const { clock, pace, stalls } = this.#seams
    this.heardFrom(nodeId)
    const watch = this.#watches.get(nodeId)
    if (watch !== undefined) watch.reachedAtMs = clock.nowMs()
    // What lay unread while this node did nothing says nothing of the network.
    const askedAtMs = clock.nowMs() - ms
    if (stalls.longestSince(askedAtMs) === 0) pace.note(nodeId, ms, askedAtMs)
  }

  /** There is a connection to a member again: whatever waits to reach it tries now. */
  connected(nodeId: string): void {
    this.#wake(nodeId)
  }

  /** A member became suspect, or somebody raised their voice against it: follows it until it is alive or gone. */
  suspected(entry: Entry): void {
    const { nodeId } = entry.member
    if (this.#watches.has(nodeId)) {
      this.#wake(nodeId)
      return
    }
    const watch: Watch = { wakers: new Set(), reachedAtMs: undefined }
    this.#watches.set(nodeId, watch)
    const { tasks } = this.#seams
    tasks.run((signal) => this.#awaitEnd(nodeId, watch, signal))
    if (this.#isVerifier(entry)) tasks.run((signal) => this.#keepTrying(nodeId, watch, signal))
  }

  /** A member is not suspect any more, for better or worse: stops following it. */
  cleared(nodeId: string): void {
    const watch = this.#watches.get(nodeId)
    this.#watches.delete(nodeId)
    for (const wake of watch?.wakers ?? []) wake()
  }

  async #rounds(signal: AbortSignal): Promise<void> {
    const { clock, membership, awareness, stalls } = this.#seams
    let startedAtMs = -Infinity
    while (!signal.aborted) {
      awareness.wasLate(stalls.longestSince(startedAtMs))
      startedAtMs = clock.nowMs()
      const candidates = membership.live().map(({ member }) => member.nodeId)
      const chosen = this.#order.next(candidates, startedAtMs, this.#timing.pingPeriodMs)
      if (chosen?.dueInMs === 0) await this.#round(chosen.nodeId, signal)
      if (candidates.length > 1 && this.#hearing.isDeaf()) {
        for (const nodeId of await this.#hearing.silentToAll(signal)) this.#accuse(nodeId, false)
      }
      await this.#restSince(startedAtMs, chosen?.dueInMs ?? 0, signal)
    }
  }

  /** Rests until a ping period has passed since `startedAtMs`, or until `dueInMs` has passed when that is less. */
  async #restSince(startedAtMs: number, dueInMs: number, signal: AbortSignal): Promise<void> {
    const { clock, random, awareness, stalls } = this.#seams
    const jitter = 1 + PERIOD_JITTER * (2 * random.next() - 1)
    const periodMs = this.#timing.pingPeriodMs * awareness.multiplier() * jitter
    const roundedAtMs = clock.nowMs()
    const leftMs = periodMs - (roundedAtMs - startedAtMs)
    const restMs = dueInMs > 0 ? Math.min(dueInMs * jitter, leftMs) : Math.max(periodMs / 2, leftMs)
    await clock.sleep(restMs, signal).catch(() => undefined)
    stalls.note(clock.nowMs() - roundedAtMs - restMs)
  }

  async #round(target: string, signal: AbortSignal): Promise<void> {
    const { clock, awareness, pinger, stalls } = this.#seams
    const startedAtMs = clock.nowMs()
    const allowedMs = this.#allowedMs(target)
    const direct = await pinger.direct(target, signal)
    const { alive, asked, answered } =
      direct === 'alive' ? { alive: true, asked: 0, answered: 0 } : await pinger.indirect(target, signal)
    if (signal.aborted) return
    if (alive || answered > 0) this.#hearing.heard()
    stalls.note(clock.nowMs() - startedAtMs - allowedMs)
    if (direct === 'alive') {
      awareness.note(-1)
      return
    }
    // While this node did nothing, the answer may have come and lies unread.
    const stalled = stalls.longestSince(startedAtMs) >= this.#timing.pingTimeoutMs / 2
    if (stalled || (!alive && answered < asked)) awareness.note(1)
    if (stalled) this.#order.recall(target)
    else if (!alive) this.#accuse(target, false)
  }

  /** Accuses a member only if it can still not be reached once this node has found its feet again. */
  async #verify(nodeId: string, signal: AbortSignal): Promise<void> {
    const { clock, membership, pinger } = this.#seams
    await clock.sleep(this.#judgedFromMs(nodeId) - clock.nowMs(), signal).catch(() => undefined)
    const live = membership.live().some(({ member }) => member.nodeId === nodeId)
    if (!live || (await pinger.direct(nodeId, signal)) === 'alive') return
    if (!signal.aborted) this.#accuse(nodeId, false)
  }

  #accuse(nodeId: string, linkLost: boolean): void {
    const { membership, spread, clock } = this.#seams
    if (membership.awayUntilMs(nodeId) > clock.nowMs()) return
    const before = membership.get(nodeId)?.suspicion
    membership.suspect(nodeId, linkLost)
    const entry = membership.get(nodeId)
    if (entry?.suspicion === undefined || entry.suspicion === before) return
    const wanted = confirmationsWanted(membership.size, this.#timing) + 1
    const spoken = [...(before?.voices ?? [])].filter(([, lost]) => lost || !linkLost).length
    if (spoken < wanted) {
      spread({ nodeId, status: 'suspect', incarnation: entry.member.incarnation, from: this.#self, linkLost })
    }
  }

  /** Waits until the suspicion has run its time, which voices shorten; then the member is dead. */
  async #awaitEnd(nodeId: string, watch: Watch, signal: AbortSignal): Promise<void> {
    const { clock, membership, stalls, pace } = this.#seams
    while (!signal.aborted && this.#watches.get(nodeId) === watch) {
      const suspicion = membership.get(nodeId)?.suspicion
      if (suspicion === undefined) return
      const endsAtMs = suspicion.startedAtMs + suspicionMs(suspicion, membership.size, this.#timing, pace.of(nodeId))
      const wakeAtMs = Math.max(endsAtMs, this.#judgedFromMs(nodeId), this.#trustedUntilMs(nodeId, watch))
      if (wakeAtMs > clock.nowMs()) {
        await this.#rest(watch, wakeAtMs - clock.nowMs(), signal)
        stalls.note(clock.nowMs() - wakeAtMs)
      } else if (suspicion.voices.has(this.#self)) {
        this.#declareDead(nodeId)
      } else {
        await this.#tryToReach(nodeId, watch, signal)
      }
    }
  }

  /** Tries to reach the suspect again and again: each ping tells it what is believed of it, and lets it answer back. */
  async #keepTrying(nodeId: string, watch: Watch, signal: AbortSignal): Promise<void> {
    while (!signal.aborted && this.#watches.get(nodeId) === watch) {
      await this.#tryToReach(nodeId, watch, signal)
      await this.#rest(watch, this.#timing.pingTimeoutMs * RETRY_SHARE, signal)
    }
  }

  async #tryToReach(nodeId: string, watch: Watch, signal: AbortSignal): Promise<void> {
    const { pinger, clock } = this.#seams
    const reached = await withSignal(signal, (inner) =>
      anyTrue([
        pinger.direct(nodeId, inner).then((result) => result === 'alive'),
        pinger.indirect(nodeId, inner).then(({ alive }) => alive),
      ]),
    )
    if (signal.aborted) return
    if (reached) watch.reachedAtMs = clock.nowMs()
    else this.#accuse(nodeId, false)
  }

  #declareDead(nodeId: string): void {
    const { membership, spread } = this.#seams
    const entry = membership.get(nodeId)
    if (entry?.suspicion === undefined) return
    const linkLost = [...entry.suspicion.voices.values()].some(Boolean)
    membership.declareDead(nodeId)
    spread({ nodeId, status: 'dead', incarnation: entry.member.incarnation, from: this.#self, linkLost })
  }

  /** A suspect that answered is alive, even while its refutation is on its way. */
  #trustedUntilMs(nodeId: string, { reachedAtMs }: Watch): number {
    return reachedAtMs === undefined ? 0 : reachedAtMs + this.#minMs * this.#seams.pace.of(nodeId)
  }

  /** After a stall of this node nobody is judged before what came meanwhile has been read, and the suspect was asked again. */
  get #heldUntilMs(): number {
    return this.#seams.stalls.awakeSinceMs(this.#timing.pingTimeoutMs) + this.#minMs
  }

  /** From when on the silence of a member counts: not while it said that it would be silent. */
  #judgedFromMs(nodeId: string): number {
    return Math.max(this.#heldUntilMs, this.#seams.membership.awayUntilMs(nodeId))
  }

  async #rest(watch: Watch, ms: number, signal: AbortSignal): Promise<void> {
    let wake = (): void => undefined
    const woken = new Promise<void>((resolve) => {
      wake = resolve
    })
    watch.wakers.add(wake)
    await withSignal(signal, (inner) =>
      Promise.race([this.#seams.clock.sleep(ms, inner).catch(() => undefined), woken]),
    )
    watch.wakers.delete(wake)
  }

  #wake(nodeId: string): void {
    for (const wake of this.#watches.get(nodeId)?.wakers ?? []) wake()
  }

  #isVerifier({ suspicion }: Entry): boolean {
    const { membership, random } = this.#seams
    if (suspicion?.voices.has(this.#self) === true) return true
    return below(Math.max(1, membership.size - 2), random) < VERIFIERS
  }

  #allowedMs(target: string): number {
    const { pingTimeoutMs, indirectTimeoutMs } = this.#timing
    const { awareness, pace } = this.#seams
    const factor = patience(awareness.multiplier(), pace.of(target))
    return (pingTimeoutMs + indirectTimeoutMs) * factor + pingTimeoutMs
  }

  get #minMs(): number {
    return suspicionMinMs(this.#seams.membership.size, this.#timing)
  }

  get #self(): string {
    return this.#seams.self
  }
}

/** True as soon as one is; false when all are. None may reject. */
async function anyTrue(answers: readonly Promise<boolean>[]): Promise<boolean> {
  const successes = answers.map(async (answer) => {
    if (!(await answer)) throw new Error('no')
    return true
  })
  return Promise.any(successes).catch(() => false)
}
