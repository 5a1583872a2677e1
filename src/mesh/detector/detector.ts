import { withSignal } from '../../base/abort.ts'
import { below } from '../../base/random.ts'
import type { TaskGroup } from '../../base/task-group.ts'
import type { MeshTiming } from '../config.ts'
import type { Rumour } from '../member.ts'
import type { Entry } from '../membership.ts'
import { createPingOrder, type PingOrder } from './ping-order.ts'
import type { Pinger, PingSeams } from './pinger.ts'
import { confirmationsWanted, suspicionMinMs, suspicionMs } from './suspicion.ts'

export interface DetectorSeams extends Pick<PingSeams, 'clock' | 'random' | 'membership' | 'awareness'> {
  /** Node id of this node. */
  readonly self: string
  readonly tasks: TaskGroup
  readonly pinger: Pinger
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
  readonly #watches = new Map<string, Watch>()

  constructor(seams: DetectorSeams, timing: MeshTiming) {
    this.#seams = seams
    this.#timing = timing
    this.#order = createPingOrder(seams.random)
  }

  /** Begins the round of pings, which ends with the task group. */
  start(): void {
    this.#seams.tasks.run((signal) => this.#rounds(signal))
  }

  /** The last connection to a member is gone: a strong hint, so it is suspect and asked at once. */
  connectionLost(nodeId: string): void {
    this.#accuse(nodeId, true)
  }

  /** A member asked us something: it lives, and need not be pinged soon. */
  heardFrom(nodeId: string): void {
    this.#order.heard(nodeId, this.#seams.clock.nowMs())
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
    const { clock, random, membership, awareness } = this.#seams
    let lateMs = 0
    while (!signal.aborted) {
      awareness.wasLate(lateMs)
      const allowedMs = this.#allowedMs
      const startedAtMs = clock.nowMs()
      const candidates = membership.live().map(({ member }) => member.nodeId)
      const target = this.#order.next(candidates, startedAtMs)
      if (target !== undefined) await this.#round(target, allowedMs, signal)
      const roundedAtMs = clock.nowMs()
      const jitter = 1 + PERIOD_JITTER * (2 * random.next() - 1)
      const periodMs = this.#timing.pingPeriodMs * awareness.multiplier() * jitter
      const restMs = Math.max(periodMs / 2, periodMs - (roundedAtMs - startedAtMs))
      await clock.sleep(restMs, signal).catch(() => undefined)
      // A block of the event loop makes late whichever of the two it falls into.
      lateMs = Math.max(roundedAtMs - startedAtMs - allowedMs, clock.nowMs() - roundedAtMs - restMs)
    }
  }

  /** @param allowedMs how long the round may take, if this node is awake all the while */
  async #round(target: string, allowedMs: number, signal: AbortSignal): Promise<void> {
    const { clock, awareness, pinger } = this.#seams
    const startedAtMs = clock.nowMs()
    if ((await pinger.direct(target, signal)) === 'alive') {
      awareness.note(-1)
      return
    }
    const { alive, asked, answered } = await pinger.indirect(target, signal)
    if (signal.aborted) return
    // A late end means that this node slept, and the answer may still lie unread.
    const late = clock.nowMs() - startedAtMs > allowedMs
    if (late || (!alive && answered < asked)) awareness.note(1)
    if (!late && !alive) this.#accuse(target, false)
  }

  #accuse(nodeId: string, linkLost: boolean): void {
    const { membership, spread } = this.#seams
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
    const { clock, membership, awareness } = this.#seams
    let notBeforeMs = 0
    while (!signal.aborted && this.#watches.get(nodeId) === watch) {
      const suspicion = membership.get(nodeId)?.suspicion
      if (suspicion === undefined) return
      const endsAtMs = suspicion.startedAtMs + suspicionMs(suspicion, membership.size, this.#timing)
      const wakeAtMs = Math.max(endsAtMs, notBeforeMs, this.#trustedUntilMs(watch))
      if (wakeAtMs > clock.nowMs()) {
        await this.#rest(watch, wakeAtMs - clock.nowMs(), signal)
        const late = clock.nowMs() - wakeAtMs > this.#timing.pingTimeoutMs
        if (late) {
          // This node slept through the end: what speaks for the suspect may still lie unread.
          awareness.note(1)
          notBeforeMs = clock.nowMs() + this.#minMs
        }
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
  #trustedUntilMs({ reachedAtMs }: Watch): number {
    return reachedAtMs === undefined ? 0 : reachedAtMs + this.#minMs
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

  get #allowedMs(): number {
    const { pingTimeoutMs, indirectTimeoutMs } = this.#timing
    return (pingTimeoutMs + indirectTimeoutMs) * this.#seams.awareness.multiplier() + pingTimeoutMs
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
