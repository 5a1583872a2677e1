import { lookup } from 'node:dns/promises'
import { setMaxListeners } from 'node:events'
import { isIP } from 'node:net'
import { multiaddr } from '@multiformats/multiaddr'
import { type BackoffPolicy, backoffMs } from '../../base/backoff.ts'
import { type Clock, TIMED_OUT, within } from '../../base/clock.ts'
import { messageOf } from '../../base/error.ts'
import { createPulse, type Pulse } from '../../base/pulse.ts'
import type { Log } from '../../base/log.ts'
import type { Random } from '../../base/random.ts'
import type { DiscoveryWay } from '../transport.ts'
import { dialFault } from './dial-fault.ts'
import { formatHostPort, type HostPort, toMultiaddr } from './address.ts'
import type { Host } from './host.ts'
import type { Links } from './links.ts'
import { isHandshakeFailure, REFUSED_RETRY } from './tracked-peer.ts'
import type { NetworkWatch } from './network-watch.ts'

interface SeedSeams {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly networks: NetworkWatch
}

interface SeedState {
  readonly at: HostPort
  /** What the name meant when it was last asked for. */
  addresses: readonly string[]
  restUntilMs: number
  failures: number
  refused: boolean
  dialing: boolean
  fault: string
}

const RETRY: BackoffPolicy = { minMs: 500, maxMs: 8_000, factor: 2, jitter: 0.4 }
const UNTRIED = { failures: 0, refused: false, dialing: false, fault: '' }
/** How often seeds are looked at while some are not reached, and while all are. */
const BUSY_MS = 250
const CALM_MS = 2_000
const RESOLVE_MS = 5_000

/** Dials the configured addresses, whose peers are unknown beforehand, for ever while no link to them stands. */
export class Seeds {
  readonly #seams: SeedSeams
  readonly #host: Host
  readonly #links: Links
  readonly #seeds: readonly SeedState[]
  readonly #working = new Set<Promise<void>>()
  #pulse: Pulse | undefined

  constructor(seams: SeedSeams, host: Host, links: Links, seeds: readonly HostPort[]) {
    this.#seams = seams
    this.#host = host
    this.#links = links
    this.#seeds = seeds.map((at) => ({ at, addresses: [], restUntilMs: 0, ...UNTRIED }))
  }

  /** Resolves when `signal` has aborted and no dial is under way. */
  async run(signal: AbortSignal): Promise<void> {
    if (this.#seeds.length === 0) return
    const { clock, random, log, networks } = this.#seams
    const onError = (error: unknown): void => log.error('seed tick failed', { cause: messageOf(error) })
    // Each dial of each seed listens to it.
    setMaxListeners(0, signal)
    const unsubscribe = networks.changes.subscribe(() => this.#hasten())
    const times = { busyMs: BUSY_MS, calmMs: CALM_MS, jitter: 0.1 }
    this.#pulse = createPulse(() => this.#step(signal), { ...times, clock, random, onError })
    await this.#pulse.run(signal)
    unsubscribe()
    await Promise.all(this.#working)
  }

  /** How it goes with each seed, for people. */
  ways(): readonly DiscoveryWay[] {
    return this.#seeds.map(({ at, addresses, fault }) => {
      const isSelf = this.#isSelf(addresses)
      const found = this.#links.peersAt(addresses)
      const where = isSelf ? `${formatHostPort(at)}, which is this node` : formatHostPort(at)
      return {
        way: 'seed',
        where,
        fault: isSelf || found.length > 0 ? '' : fault || 'is being tried for the first time; ask again in a moment',
        found,
      }
    })
  }

  /** The networks are others now: what could not be reached before may be. */
  #hasten(): void {
    const nowMs = this.#seams.clock.nowMs()
    for (const seed of this.#seeds) if (!seed.refused) seed.restUntilMs = Math.min(seed.restUntilMs, nowMs)
    this.#pulse?.hurry()
  }

  /** Gives the time until something may be due again. */
  #step(signal: AbortSignal): number {
    const nowMs = this.#seams.clock.nowMs()
    let dueMs = Infinity
    for (const seed of this.#seeds) {
      if (seed.dialing) continue
      if (nowMs >= seed.restUntilMs && this.#links.covers(seed.addresses)) seed.restUntilMs = nowMs + CALM_MS
      if (nowMs < seed.restUntilMs) {
        dueMs = Math.min(dueMs, seed.restUntilMs - nowMs)
        continue
      }
      const task = this.#try(seed, signal)
      this.#working.add(task)
      void task.finally(() => {
        this.#working.delete(task)
        this.#pulse?.hurry()
      })
    }
    return dueMs
  }

  async #try(seed: SeedState, signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#seams
    seed.dialing = true
    try {
      seed.addresses = await this.#resolve(seed.at)
      if (this.#isSelf(seed.addresses) || this.#links.covers(seed.addresses)) {
        seed.restUntilMs = clock.nowMs() + RETRY.maxMs
        return
      }
      await this.#host.dial(
        seed.addresses.map((address) => multiaddr(address)),
        { signal },
      )
      seed.failures = 0
      seed.refused = false
      // From here on the link is kept by others; a peer that ends it at once is not asked again and again.
      seed.restUntilMs = clock.nowMs() + RETRY.maxMs
      seed.fault = ''
    } catch (error) {
      seed.failures += 1
      seed.refused = isHandshakeFailure(error)
      const policy = seed.refused ? REFUSED_RETRY : RETRY
      seed.restUntilMs = clock.nowMs() + backoffMs(seed.failures, policy, random)
      if (!signal.aborted && !isKnownPeer(error)) this.#note(seed, dialFault(error))
    } finally {
      seed.dialing = false
    }
  }

  /** Asked anew at each try, because names move. @throws when the name means nothing, or nobody answers in time. */
  async #resolve({ host, port }: HostPort): Promise<string[]> {
    if (isIP(host) !== 0) return [toMultiaddr({ host, port })]
    const found = await within(this.#seams.clock, RESOLVE_MS, lookup(host, { all: true }))
    if (found === TIMED_OUT)
      throw new Error(`the name ${host} cannot be looked up: no answer within ${RESOLVE_MS / 1_000} s (DNS)`)
    return found.map(({ address }) => toMultiaddr({ host: address, port }))
  }

  /** One list of seeds may serve all nodes, so that a node finds itself in it. */
  #isSelf(addresses: readonly string[]): boolean {
    const own = this.#host.services.inside.listening().map(String)
    return addresses.some((address) => own.includes(address))
  }

  #note(seed: SeedState, fault: string): void {
    if (seed.fault === fault) return
    seed.fault = fault
    this.#seams.log.info('seed cannot be reached, it is tried again', { seed: formatHostPort(seed.at), cause: fault })
  }
}

/** The seed is a peer we already have a link to, or this very node. */
function isKnownPeer(error: unknown): boolean {
  if (error instanceof AggregateError) return error.errors.some(isKnownPeer)
  return error instanceof Error && ['ConnectionInterceptedError', 'InvalidPeerIdError'].includes(error.name)
}
