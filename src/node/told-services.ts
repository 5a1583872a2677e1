import { withSignal } from '../base/abort.ts'
import { type BackoffPolicy, backoffMs } from '../base/backoff.ts'
import { type Clock, TIMED_OUT, within } from '../base/clock.ts'
import { messageOf } from '../base/error.ts'
import type { Log } from '../base/log.ts'
import type { Random } from '../base/random.ts'
import type { InstanceStatus } from '../process/index.ts'
import { addressOf } from './registrations.ts'

/** How long a unit may take to tell its services by reflection. */
const REFLECTION_TIMEOUT_MS = 2_000

/** Waits between two questions to a unit that did not answer. */
const ASK_AGAIN: BackoffPolicy = { minMs: 1_000, maxMs: 30_000, factor: 2, jitter: 0.2 }

/** Asks a unit for its gRPC services. Empty when it does not tell. */
export type AskServices = (address: string, signal: AbortSignal) => Promise<readonly string[]>

export interface ToldServicesSeams {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly askServices: AskServices
  readonly isReady: (instance: string) => boolean
  /** An instance has told for the first time. */
  readonly onTold: (unit: string, services: readonly string[]) => void
}

/** What instances tell of their services: each is asked once it is ready, until it tells. */
export class ToldServices {
  readonly #seams: ToldServicesSeams
  readonly #told = new Map<string, readonly string[]>()
  readonly #asking = new Map<string, Promise<void>>()
  readonly #ended = new AbortController()

  constructor(seams: ToldServicesSeams) {
    this.#seams = seams
  }

  get isEmpty(): boolean {
    return this.#told.size === 0
  }

  /** Undefined before it has told. */
  of(instance: string): readonly string[] | undefined {
    return this.#told.get(instance)
  }

  /** Begins to ask, unless that was done before, or there is nobody to ask. */
  ask(status: InstanceStatus): void {
    const { instance, ports } = status
    if (addressOf(ports) === '' || this.#told.has(instance) || this.#asking.has(instance)) return
    this.#asking.set(
      instance,
      this.#untilTold(status).finally(() => this.#asking.delete(instance)),
    )
  }

  /** Forgets those that are not among the living. */
  keepOnly(living: ReadonlySet<string>): void {
    for (const instance of [...this.#told.keys()]) if (!living.has(instance)) this.#told.delete(instance)
  }

  /** Asks no more, and waits for questions under way. */
  async stop(): Promise<void> {
    this.#ended.abort()
    await Promise.all(this.#asking.values())
  }

  /** Asks until it tells, or is not ready any more. One without reflection says so, and offers nothing by name. */
  async #untilTold({ unit, instance, ports }: InstanceStatus): Promise<void> {
    const { clock, random, log, isReady, onTold } = this.#seams
    const isAsked = (): boolean => !this.#ended.signal.aborted && isReady(instance)
    for (let attempt = 1; isAsked(); attempt += 1) {
      const services = await this.#askOnce(addressOf(ports))
      if (!isAsked()) return
      if (Array.isArray(services)) {
        this.#told.set(instance, services)
        onTold(unit, services)
        return
      }
      if (attempt === 1)
        log.warn('unit did not tell its services, and is asked again', { unit, instance, cause: services })
      await clock.sleep(backoffMs(attempt, ASK_AGAIN, random), this.#ended.signal).catch(() => undefined)
    }
  }

  /** The services, or in words why there is no answer. */
  #askOnce(address: string): Promise<readonly string[] | string> {
    const { clock, askServices } = this.#seams
    return withSignal(this.#ended.signal, async (signal) => {
      const answer = await within(clock, REFLECTION_TIMEOUT_MS, askServices(address, signal))
      return answer === TIMED_OUT ? `no answer within ${REFLECTION_TIMEOUT_MS} ms` : answer
    }).catch((error: unknown) => messageOf(error))
  }
}
