import type { MeshTiming } from '../config.ts'

/** What is held against a member since it became suspect at one incarnation. */
export interface Suspicion {
  readonly startedAtMs: number
  /** Who found it unreachable itself, by node id; true = lost its connection, false = got no answer. */
  readonly voices: ReadonlyMap<string, boolean>
}

/** The most voices of others that are kept: more than `confirmations` can ever ask for. */
const MAX_VOICES = 16

/** A suspicion that nobody has confirmed yet. */
export function newSuspicion(startedAtMs: number): Suspicion {
  return { startedAtMs, voices: new Map() }
}

/**
 * Adds a voice; a lost connection outweighs silence of the same voice. Returns `suspicion` itself when it adds nothing.
 *
 * @param own the voice of this node itself, for which there is always room
 */
export function addVoice(suspicion: Suspicion, from: string, linkLost: boolean, own = false): Suspicion {
  const { voices } = suspicion
  const known = voices.get(from)
  if (known === true || known === linkLost) return suspicion
  if (known === undefined && !own && voices.size >= MAX_VOICES) return suspicion
  return { ...suspicion, voices: new Map(voices).set(from, linkLost) }
}

/** How many voices besides the first are wanted in a mesh of `members` (self and suspect included). */
export function confirmationsWanted(members: number, timing: MeshTiming): number {
  return Math.max(0, Math.min(timing.confirmations, members - 2))
}

/**
 * `suspicionMinMs * pace * max(1, log10(members))`; the logarithm as in memberlist: a rumour takes that much longer to reach
 * everybody.
 */
export function suspicionMinMs(members: number, timing: MeshTiming, pace = 1): number {
  return Math.round(timing.suspicionMinMs * pace * Math.max(1, Math.log10(Math.max(1, members))))
}

/**
 * How long a suspicion lasts from its start, in milliseconds; then the member is dead.
 *
 * With k = confirmations wanted, c = voices besides the first, as in Lifeguard (Dadgar, Phillips, Currey 2018, §3.2):
 *
 *     max - (max - min) * log(c + 1) / log(k + 1)         k > 0; never below min
 *     suspicionAloneMs                                    k = 0: nobody else to ask
 *     linkLossMs                                          k + 1 voices have lost their connection: whichever is less
 *
 * where `min = suspicionMinMs(members)` and `max = min * suspicionMaxFactor`. All of it times the pace of the network to the member.
 */
export function suspicionMs(suspicion: Suspicion, members: number, timing: MeshTiming, pace = 1): number {
  const wanted = confirmationsWanted(members, timing)
  const lost = [...suspicion.voices.values()].filter(Boolean).length
  if (lost >= wanted + 1) return timing.linkLossMs * pace
  if (wanted === 0) return timing.suspicionAloneMs * pace
  const min = suspicionMinMs(members, timing, pace)
  const max = min * timing.suspicionMaxFactor
  const confirmed = Math.max(0, suspicion.voices.size - 1)
  const span = (max - min) * (Math.log(confirmed + 1) / Math.log(wanted + 1))
  return Math.max(min, Math.round(max - span))
}
