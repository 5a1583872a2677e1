import { aborted, withSignal } from '../base/abort.ts'
import { type BackoffPolicy, backoffMs } from '../base/backoff.ts'
import { type Clock, TIMED_OUT, within } from '../base/clock.ts'
import { messageOf } from '../base/error.ts'
import type { Log } from '../base/log.ts'
import type { Random } from '../base/random.ts'
import { createTopic, type Topic } from '../base/topic.ts'
import { createWake } from '../base/wake.ts'
import type { Canary, OnCall, Registration, ScheduleClaim, Tenure } from '../mesh/index.ts'
import { type InstanceStatus, isRunBeside, type Supervisor } from '../process/index.ts'
import { addressOf, toRegistration } from './registrations.ts'
import type { ServiceMemory } from './service-memory.ts'

/** How long a unit may take to tell its services by reflection. */
const REFLECTION_TIMEOUT_MS = 2_000

/** Waits between two questions to a unit that did not answer. */
const ASK_AGAIN: BackoffPolicy = { minMs: 1_000, maxMs: 30_000, factor: 2, jitter: 0.2 }

/** Asks a unit for its gRPC services. Empty when it does not tell. */
export type AskServices = (address: string, signal: AbortSignal) => Promise<readonly string[]>

export interface OffersSeams {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly supervisor: Pick<Supervisor, 'status' | 'changes'>
  readonly askServices: AskServices
  /** The services a unit's configuration names; undefined = ask the unit. */
  readonly configuredServices: (unit: string) => readonly string[] | undefined
  /** What the node says of the schedule of a unit; undefined when nodes do not share it. */
  readonly claimOf?: (unit: string) => Omit<ScheduleClaim, 'active'> | undefined
  /** How the node stands to a unit that only one of several nodes runs; undefined for any other. */
  readonly tenureOf?: (unit: string) => Tenure | undefined
  /** What becomes of calls while a unit is not ready; undefined when they do not wait for it. */
  readonly onCallOf?: (unit: string) => OnCall | undefined
  /** What units told before; left out: nothing is remembered of those that ended. */
  readonly memory?: Pick<ServiceMemory, 'recall' | 'keep'>
  /** What the configuration says of the calls that a unit gets, and of its version. */
  readonly termsOf?: (unit: string) => { readonly canary?: Canary | undefined; readonly version?: string | undefined }
}

/** What this node offers to the mesh: its instances, the services they serve, and which are being withdrawn. */
export interface Offers {
  registrations(): readonly Registration[]
  servicesOf(status: InstanceStatus): readonly string[]
  /** On its way or ready, and its services are still to be heard of. */
  isUntold(status: InstanceStatus): boolean
  /** Resolves when the services of an instance are known, or it is not ready any more. @throws the signal's reason */
  offered(status: InstanceStatus, signal: AbortSignal): Promise<void>
  /** Offers an instance to nobody any more; it stays listed until its process is gone. */
  withdraw(instance: string): void
  /** True from `withdraw` until the process is gone. */
  isDraining(instance: string): boolean
  /** What is registered may have changed for another reason: tells whoever listens. */
  refresh(): void
  /** What is offered stays as it is now, whatever the supervisor says, until the returned function is called. */
  freeze(): () => void
  readonly changes: Topic<undefined>
  /** Ends the watching and waits for questions under way. */
  stop(): Promise<void>
}

export function createOffers(seams: OffersSeams): Offers {
  const { clock, random, log, supervisor, askServices, configuredServices, memory } = seams
  const changes = createTopic<undefined>()
  const told = new Map<string, readonly string[]>()
  const asking = new Map<string, Promise<void>>()
  const draining = new Set<string>()
  const ended = new AbortController()

  function servicesOf({ unit, instance, kind, replica }: InstanceStatus): readonly string[] {
    if (kind !== 'integrated' || isRunBeside(replica)) return []
    return configuredServices(unit) ?? told.get(instance) ?? memory?.recall(unit) ?? []
  }

  /** Asks an instance until it tells, or is not ready any more. One without reflection says so, and offers nothing by name. */
  async function ask({ unit, instance, ports }: InstanceStatus): Promise<void> {
    const isAsked = (): boolean =>
      !ended.signal.aborted && supervisor.status().some((status) => status.instance === instance && status.ready)
    for (let attempt = 1; isAsked(); attempt += 1) {
      const services = await askOnce(addressOf(ports))
      if (!isAsked()) return
      if (Array.isArray(services)) {
        told.set(instance, services)
        memory?.keep(unit, services)
        changes.publish(undefined)
        return
      }
      if (attempt === 1)
        log.warn('unit did not tell its services, and is asked again', { unit, instance, cause: services })
      await clock.sleep(backoffMs(attempt, ASK_AGAIN, random), ended.signal).catch(() => undefined)
    }
  }

  /** The services, or in words why there is no answer. */
  function askOnce(address: string): Promise<readonly string[] | string> {
    return withSignal(ended.signal, async (signal) => {
      const answer = await within(clock, REFLECTION_TIMEOUT_MS, askServices(address, signal))
      return answer === TIMED_OUT ? `no answer within ${REFLECTION_TIMEOUT_MS} ms` : answer
    }).catch((error: unknown) => messageOf(error))
  }

  function beginAsking(status: InstanceStatus): void {
    const { instance, ports, replica } = status
    if (addressOf(ports) === '' || isRunBeside(replica) || told.has(instance) || asking.has(instance)) return
    asking.set(
      instance,
      ask(status).finally(() => asking.delete(instance)),
    )
  }

  function forgetGone(): void {
    if (told.size === 0 && draining.size === 0) return
    const live = new Set(supervisor.status().map(({ instance }) => instance))
    for (const instance of [...told.keys(), ...draining]) {
      if (live.has(instance)) continue
      told.delete(instance)
      draining.delete(instance)
    }
  }

  const unsubscribe = supervisor.changes.subscribe((status) => {
    if (status.pid === undefined) {
      forgetGone()
      draining.delete(status.instance)
    }
    if (status.ready && status.kind === 'integrated' && configuredServices(status.unit) === undefined)
      beginAsking(status)
    changes.publish(undefined)
  })

  let frozen: readonly Registration[] | undefined
  const registrations = (): readonly Registration[] =>
    supervisor.status().map((status) =>
      toRegistration(status, {
        services: servicesOf(status),
        draining: draining.has(status.instance),
        claim: seams.claimOf?.(status.unit),
        tenure: seams.tenureOf?.(status.unit),
        onCall: isRunBeside(status.replica) ? undefined : seams.onCallOf?.(status.unit),
        ...seams.termsOf?.(status.unit),
      }),
    )

  return {
    registrations: () => frozen ?? registrations(),
    freeze() {
      frozen = registrations()
      return () => {
        frozen = undefined
        changes.publish(undefined)
      }
    },
    servicesOf,
    isUntold({ unit, instance, kind, replica, state, want }) {
      if (kind !== 'integrated' || isRunBeside(replica) || want !== 'up') return false
      if (state === 'backoff' || state === 'failed' || state === 'completed') return false
      return configuredServices(unit) === undefined && !told.has(instance) && memory?.recall(unit) === undefined
    },
    async offered({ unit, instance, kind }, signal) {
      if (kind !== 'integrated' || configuredServices(unit) !== undefined) return
      const isReady = (): boolean => supervisor.status().some((each) => each.instance === instance && each.ready)
      const wake = createWake()
      const end = changes.subscribe(wake.notify)
      try {
        while (!told.has(instance) && isReady()) {
          signal.throwIfAborted()
          await withSignal(signal, (inner) => Promise.race([wake.wait(), aborted(inner)]))
        }
      } finally {
        end()
      }
    },
    withdraw(instance) {
      draining.add(instance)
      changes.publish(undefined)
    },
    isDraining: (instance) => draining.has(instance),
    refresh: () => changes.publish(undefined),
    changes,
    async stop() {
      unsubscribe()
      ended.abort()
      await Promise.all(asking.values())
    },
  }
}
