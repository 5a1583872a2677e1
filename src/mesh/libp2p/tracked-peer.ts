import type { Multiaddr } from '@multiformats/multiaddr'
import { type BackoffPolicy, backoffMs } from '../../base/backoff.ts'
import type { Random } from '../../base/random.ts'
import { hostPortOf, plainAddress, toMultiaddr } from './address.ts'
import type { KnownPeer } from './link-plan.ts'
import { allAddresses, NO_ADDRESSES, type PeerAddresses, withAddresses } from './peer-addresses.ts'

/** A peer that we keep a link to; changed in place by synchronous code only. */
export interface Tracked extends KnownPeer {
  addresses: PeerAddresses
  isDialable: boolean
  dialing: boolean
  presumedDead: boolean
  absentSinceMs: number
  restUntilMs: number
  bareSinceMs: number | undefined
  reopened: boolean
  failures: number
  /** The last dial got as far as the handshake, and no further. */
  refused: boolean
  openedAtMs: number
  /** Kept until forgotten; otherwise only while it is heard of (mDNS carries the nodes of other meshes too). */
  lasting: boolean
  heardAtMs: number
  /** When its rest was last cut short. */
  hurriedAtMs: number
}

/** Pause after a failed dial: short, because a host that powers up should be joined at once; a LAN bears it. */
const RETRY: BackoffPolicy = { minMs: 250, maxMs: 8_000, factor: 2, jitter: 0.4 }

/** The same for one that was here a moment ago: a cable that was pulled is often put back. */
const RETRY_SOON: BackoffPolicy = { ...RETRY, maxMs: 1_000 }
const SOON_MS = 60_000

/** Pause after a handshake that failed: most likely another mesh key, which takes a person to mend. */
export const REFUSED_RETRY: BackoffPolicy = { minMs: 5_000, maxMs: 60_000, factor: 2, jitter: 0.4 }

/** A connection that lasts this long was wanted by both ends. */
const SETTLED_MS = 1_000

const UNHEARD_MS = 600_000
const HURRY_REST_MS = 1_000

/** A peer of which nothing is known yet. */
export function newTracked(peer: string, nowMs: number): Tracked {
  return {
    peer,
    addresses: NO_ADDRESSES,
    isDialable: false,
    dialing: false,
    presumedDead: false,
    refused: false,
    hurriedAtMs: Number.NEGATIVE_INFINITY,
    absentSinceMs: nowMs,
    restUntilMs: nowMs,
    bareSinceMs: undefined,
    reopened: false,
    failures: 0,
    openedAtMs: nowMs,
    lasting: false,
    heardAtMs: nowMs,
  }
}

/** Adds what is new of its addresses. */
export function noteAddresses(known: Tracked, news: Partial<PeerAddresses>): void {
  known.addresses = withAddresses(known.addresses, news)
  known.isDialable = allAddresses(known.addresses).length > 0
}

/** The mesh takes it for dead, or for alive again: it is dialled at once. */
export function notePresumed(known: Tracked, isDead: boolean, nowMs: number): void {
  if (known.presumedDead === isDead) return
  known.presumedDead = isDead
  known.absentSinceMs = nowMs
  known.restUntilMs = nowMs
}

/** Ends the rest of a peer whose failures say nothing about now; at most once a second each. */
export function noteHurry(known: Tracked, nowMs: number): void {
  if (known.hurriedAtMs > nowMs - HURRY_REST_MS) return
  known.hurriedAtMs = nowMs
  known.restUntilMs = Math.min(known.restUntilMs, nowMs)
}

/** The peer has said goodbye: it is given a rest, not forgotten, for anyone can say so. */
export function noteGoodbye(known: Tracked, nowMs: number): void {
  known.restUntilMs = nowMs + RETRY.maxMs
}

/** A connection to it is open. */
export function noteOpened(known: Tracked, reached: string | undefined, nowMs: number): void {
  known.lasting = true
  known.refused = false
  known.openedAtMs = nowMs
  known.bareSinceMs = undefined
  known.reopened = false
  if (reached !== undefined) noteAddresses(known, { reached })
}

/** The last connection to it is gone. */
export function noteLost(known: Tracked, nowMs: number, random: Random): void {
  known.absentSinceMs = nowMs
  // A peer that takes a connection only to end it wants none: it may have another view of who is a member.
  const wanted = nowMs - known.openedAtMs >= SETTLED_MS
  known.failures = wanted ? 0 : known.failures + 1
  known.restUntilMs = nowMs + (known.failures < 2 ? 0 : backoffMs(known.failures, RETRY, random))
  known.bareSinceMs = undefined
  known.reopened = false
}

/** A dial has failed. */
export function noteFailure(known: Tracked, error: unknown, nowMs: number, random: Random): void {
  known.failures += 1
  known.refused = isHandshakeFailure(error)
  const soon = nowMs - known.absentSinceMs < SOON_MS ? RETRY_SOON : RETRY
  const policy = known.refused ? REFUSED_RETRY : soon
  known.restUntilMs = nowMs + backoffMs(known.failures, policy, random)
}

/** Whether it was only heard of, and not for a long time. */
export function isStale({ lasting, heardAtMs }: Tracked, nowMs: number): boolean {
  return !lasting && nowMs - heardAtMs > UNHEARD_MS
}

/** Whether it is, or says it is, at one of `addresses`. */
export function claims(known: Tracked, addresses: readonly string[]): boolean {
  return allAddresses(known.addresses).some((address) => addresses.includes(address))
}

/** What libp2p says of a handshake that was given up, as on a slow network. */
const GIVEN_UP = /abort|timed? ?out/i

/** Whether a dial failed after TCP had connected, while the two sides agreed on keys and identities; not one that was only slow. */
export function isHandshakeFailure(error: unknown): boolean {
  if (error instanceof AggregateError) return error.errors.some(isHandshakeFailure)
  return error instanceof Error && error.name === 'EncryptionFailedError' && !GIVEN_UP.test(error.message)
}

/** Those that can be dialled, in the one form in which they are compared. */
export function plainOnes(addresses: readonly string[]): string[] {
  return addresses.map(plainAddress).filter((address) => address !== undefined)
}

/** Where a connection leads, in that form. */
export function plainOf(address: Multiaddr): string[] {
  const at = hostPortOf(address)
  return at === undefined ? [] : [toMultiaddr(at)]
}
