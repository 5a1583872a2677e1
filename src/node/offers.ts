import { aborted, withSignal } from '../base/abort.ts'
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import type { Random } from '../base/random.ts'
import { createTopic, type Topic } from '../base/topic.ts'
import { createWake } from '../base/wake.ts'
import type { Canary, OnCall, Registration, ScheduleClaim, Tenure } from '../mesh/index.ts'
import { type InstanceStatus, isRunBeside, type Supervisor } from '../process/index.ts'
import { toRegistration } from './registrations.ts'
import type { ServiceMemory } from './service-memory.ts'
import { type AskServices, ToldServices } from './told-services.ts'

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
  const { supervisor, configuredServices, memory } = seams
  const changes = createTopic<undefined>()
  const draining = new Set<string>()
  const isReady = (instance: string): boolean =>
    supervisor.status().some((status) => status.instance === instance && status.ready)
  const told = new ToldServices({
    ...seams,
    isReady,
    onTold(unit, services) {
      memory?.keep(unit, services)
      changes.publish(undefined)
    },
  })

  function servicesOf({ unit, instance, kind, replica }: InstanceStatus): readonly string[] {
    if (kind !== 'integrated' || isRunBeside(replica)) return []
    return configuredServices(unit) ?? told.of(instance) ?? memory?.recall(unit) ?? []
  }

  function forgetGone(): void {
    if (told.isEmpty && draining.size === 0) return
    const living = new Set(supervisor.status().map(({ instance }) => instance))
    told.keepOnly(living)
    for (const instance of [...draining]) if (!living.has(instance)) draining.delete(instance)
  }

  const isAsked = ({ unit, kind, replica }: InstanceStatus): boolean =>
    kind === 'integrated' && !isRunBeside(replica) && configuredServices(unit) === undefined

  const unsubscribe = supervisor.changes.subscribe((status) => {
    if (status.pid === undefined) {
      forgetGone()
      draining.delete(status.instance)
    }
    if (status.ready && isAsked(status)) told.ask(status)
    changes.publish(undefined)
  })

  async function offered({ unit, instance, kind }: InstanceStatus, signal: AbortSignal): Promise<void> {
    if (kind !== 'integrated' || configuredServices(unit) !== undefined) return
    const wake = createWake()
    const end = changes.subscribe(wake.notify)
    try {
      while (told.of(instance) === undefined && isReady(instance)) {
        signal.throwIfAborted()
        await withSignal(signal, (inner) => Promise.race([wake.wait(), aborted(inner)]))
      }
    } finally {
      end()
    }
  }

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
    isUntold(status) {
      const { unit, instance, state, want } = status
      if (!isAsked(status) || want !== 'up') return false
      if (state === 'backoff' || state === 'failed' || state === 'completed') return false
      return told.of(instance) === undefined && memory?.recall(unit) === undefined
    },
    offered,
    withdraw(instance) {
      draining.add(instance)
      changes.publish(undefined)
    },
    isDraining: (instance) => draining.has(instance),
    refresh: () => changes.publish(undefined),
    changes,
    async stop() {
      unsubscribe()
      await told.stop()
    },
  }
}
