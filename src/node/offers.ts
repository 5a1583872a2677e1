import { TIMED_OUT, within, type Clock } from '../base/clock.ts'
import { messageOf } from '../base/error.ts'
import type { Log } from '../base/log.ts'
import { createTopic, type Topic } from '../base/topic.ts'
import type { Registration } from '../mesh/index.ts'
import type { InstanceStatus, Supervisor } from '../process/index.ts'
import { addressOf, toRegistration } from './registrations.ts'

/** How long a unit may take to tell its services by reflection. */
const REFLECTION_TIMEOUT_MS = 2_000

/** Asks a unit for its gRPC services. Empty when it does not tell. */
export type AskServices = (address: string, signal: AbortSignal) => Promise<readonly string[]>

export interface OffersSeams {
  readonly clock: Clock
  readonly log: Log
  readonly supervisor: Pick<Supervisor, 'status' | 'changes'>
  readonly askServices: AskServices
  /** The services a unit's configuration names; undefined = ask the unit. */
  readonly configuredServices: (unit: string) => readonly string[] | undefined
}

/** What this node offers to the mesh: its instances, the services they serve, and which are being withdrawn. */
export interface Offers {
  registrations(): readonly Registration[]
  servicesOf(instance: string): readonly string[]
  /** Offers an instance to nobody any more; it stays listed until its process is gone. */
  withdraw(instance: string): void
  readonly changes: Topic<undefined>
  /** Ends the watching and waits for questions under way. */
  stop(): Promise<void>
}

export function createOffers(seams: OffersSeams): Offers {
  const { clock, log, supervisor, askServices, configuredServices } = seams
  const changes = createTopic<undefined>()
  const told = new Map<string, readonly string[]>()
  const asking = new Map<string, Promise<void>>()
  const draining = new Set<string>()
  const ended = new AbortController()

  function servicesOf({ unit, instance, kind }: InstanceStatus): readonly string[] {
    if (kind !== 'integrated') return []
    return configuredServices(unit) ?? told.get(instance) ?? []
  }

  /** Asks a fresh instance once; a unit that has no reflection simply offers no service by name. */
  function ask({ unit, instance, ports }: InstanceStatus): void {
    const address = addressOf(ports)
    if (address === '' || told.has(instance) || asking.has(instance)) return
    const question = within(clock, REFLECTION_TIMEOUT_MS, askServices(address, ended.signal))
      .then((services) => {
        told.set(instance, services === TIMED_OUT ? [] : services)
        changes.publish(undefined)
      })
      .catch((error: unknown) => {
        told.set(instance, [])
        log.warn('unit did not tell its services', { unit, instance, cause: messageOf(error) })
      })
      .finally(() => asking.delete(instance))
    asking.set(instance, question)
  }

  function forgetGone(): void {
    const live = new Set(supervisor.status().map(({ instance }) => instance))
    for (const instance of [...told.keys(), ...draining]) {
      if (live.has(instance)) continue
      told.delete(instance)
      draining.delete(instance)
    }
  }

  const unsubscribe = supervisor.changes.subscribe((status) => {
    forgetGone()
    if (status.pid === undefined) draining.delete(status.instance)
    if (status.ready && status.kind === 'integrated' && configuredServices(status.unit) === undefined) ask(status)
    changes.publish(undefined)
  })

  return {
    registrations: () =>
      supervisor
        .status()
        .map((status) =>
          toRegistration(status, { services: servicesOf(status), draining: draining.has(status.instance) }),
        ),
    servicesOf(instance) {
      const status = supervisor.status().find((status) => status.instance === instance)
      return status === undefined ? [] : servicesOf(status)
    },
    withdraw(instance) {
      draining.add(instance)
      changes.publish(undefined)
    },
    changes,
    async stop() {
      unsubscribe()
      ended.abort()
      await Promise.all(asking.values())
    },
  }
}
