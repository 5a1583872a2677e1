import { createTaskGroup, type TaskGroup } from '../../base/task-group.ts'
import type { Clock } from '../../base/clock.ts'
import { DependencyGate } from '../dependency-gate.ts'
import { type MainPidOf, systemctlMainPid } from '../find-service.ts'
import { aloneSchedules } from '../jobs/schedule-mesh.ts'
import { createForwarding, type Forwarding } from '../logs/forwarding.ts'
import { createOutput, type Output } from '../output.ts'
import { createPortBook } from '../ports.ts'
import type { ProcessTable } from '../process-table.ts'
import { followRestraints, noRestraints, type Restraints } from '../restraint.ts'
import type { SlotSeams } from '../unit.ts'
import type { UnmanagedSeams } from '../unmanaged.ts'
import { createWatches, type Watches } from '../watch/watches.ts'
import { type Account, createAccount } from './account.ts'
import { AttachedUnits } from './attached.ts'
import { createGauges, type Gauges } from './gauges.ts'
import { Inheritance } from './inheritance.ts'
import { Reconciler } from './reconciler.ts'
import type { SupervisorConfig, SupervisorSeams } from './seams.ts'
import { createStatusNews, type StatusNews } from './status-news.ts'
import { Turns } from './turns.ts'
import { UnitSet } from './unit-set.ts'

/** The parts of a supervisor, each of which knows only those it needs. */
export interface SupervisorParts {
  readonly clock: Clock
  readonly table: ProcessTable
  readonly mainPidOf: MainPidOf
  readonly nodeEvent: () => string
  readonly tasks: TaskGroup
  readonly units: UnitSet
  readonly turns: Turns
  readonly attached: AttachedUnits
  readonly account: Account
  readonly gauges: Gauges
  readonly output: Output
  readonly forwarding: Forwarding
  readonly gate: DependencyGate
  readonly restraints: Restraints
  readonly news: StatusNews
  readonly watches: Watches
  readonly inheritance: Inheritance
  readonly reconciler: Reconciler
}

/** Puts the parts together. */
export function createParts(seams: SupervisorSeams, config: SupervisorConfig): SupervisorParts {
  const { clock, log, store, host, nodeEvent = (): string => '' } = seams
  const { table } = host
  const mainPidOf = systemctlMainPid(host.run, host.environment(), log)
  const units = new UnitSet()
  const attached = new AttachedUnits(log)
  const tasks = createTaskGroup((error) => log.error('supervision met a fault', { error }))
  const account = createAccount(clock, seams.nextEventId)
  const { tell } = account
  const gauges = createGauges({ clock, table, log, statuses: () => units.statuses })
  const output = seams.output ?? outputOf(seams, config, { units, account })
  const forwarding = createForwarding({ ...seams, output, tell })
  const gate = new DependencyGate({
    ...{ clock, log, tasks, tell, elsewhere: seams.elsewhere },
    read: (query, signal) => output.query(query, signal),
    dependants: () => units.owned,
    statusesOf: (unit) => units.standingOf(unit),
  })
  const news = createStatusNews((status) => gate.changed(status))
  const restraints = seams.restraints ?? noRestraints()
  const watches = createWatches({ clock, log, tell, watcher: watcherOf(seams) }, changeActions(units))
  const inheritance = new Inheritance({ clock, log, store, host, output }, config.runDir, tasks.signal)
  const unmanaged = unmanagedSeams(seams, { mainPidOf, gauges, account, news })
  const slot = slotSeams(seams, config, { unmanaged, output, gate, restraints, units, nodeEvent })
  const mesh = seams.scheduleMesh ?? aloneSchedules()
  const announced = seams.announced ?? (async (): Promise<void> => undefined)
  const owned = { slot, mesh, store, inheritance, news, tasks, announced, life: tasks.signal }
  const reconciler = new Reconciler(
    { log, units, gate, watches, inheritance, attached, forwarding, owned, unmanaged },
    config.runDir,
  )
  const turns = new Turns()
  const slotsOf = (unit: string) => (turns.life === 'running' ? (units.getOwned(unit)?.replicas ?? []) : [])
  followRestraints({ restraints, tell, slotsOf })
  const told = { tasks, account, news, nodeEvent }
  return {
    clock,
    table,
    mainPidOf,
    units,
    turns,
    attached,
    gauges,
    output,
    forwarding,
    gate,
    restraints,
    watches,
    inheritance,
    reconciler,
    ...told,
  }
}

type Some<Name extends keyof SupervisorParts> = Pick<SupervisorParts, Name>

function outputOf(
  { clock, log, host }: SupervisorSeams,
  { logDir }: SupervisorConfig,
  { units, account }: Some<'units' | 'account'>,
): Output {
  const parseOf = (unit: string) => units.get(unit)?.spec.config.logs.parse ?? 'auto'
  return createOutput({ clock, log, run: host.run, tell: account.tell }, { logDir, parseOf })
}

function watcherOf({ fileWatcher, clock }: SupervisorSeams): Parameters<typeof createWatches>[0]['watcher'] {
  return async () => fileWatcher ?? (await import('../watch/chokidar-watcher.ts')).chokidarWatcher(clock)
}

/** What a change of watched files does to replicas; runs of a job go on with the files they began with. */
function changeActions(units: UnitSet): Parameters<typeof createWatches>[1] {
  const replicasOf = (unit: string) => units.getOwned(unit)?.replicas ?? []
  return {
    renew: (unit, reason, causedBy) => units.getOwned(unit)?.renew(reason, { causedBy }),
    signal: async (unit, name) => {
      await Promise.all(replicasOf(unit).map((slot) => slot.requests.signal(name)))
    },
  }
}

function unmanagedSeams(
  { clock, log, store, host, grpc }: SupervisorSeams,
  { mainPidOf, gauges, account, news }: Some<'mainPidOf' | 'gauges' | 'account' | 'news'>,
): UnmanagedSeams & Pick<SlotSeams, 'limitMeter'> {
  const { meter, limitMeter } = gauges
  return {
    clock,
    log,
    store,
    host,
    grpc,
    mainPidOf,
    meter,
    limitMeter,
    publish: account.tell,
    changed: (status) => news.changed(status),
  }
}

function slotSeams(
  { random, environmentOf, withdraw, drain, host }: SupervisorSeams,
  { goesOn = false }: SupervisorConfig,
  {
    unmanaged,
    gate,
    restraints,
    units,
    ...shared
  }: Some<'output' | 'gate' | 'restraints' | 'units' | 'nodeEvent'> & { readonly unmanaged: UnmanagedSeams },
): SlotSeams {
  return {
    ...unmanaged,
    ...shared,
    ...{ random, environmentOf, withdraw, drain, goesOn },
    ports: createPortBook(host),
    admission(name) {
      const restraint = restraints.of(name)
      if (restraint !== undefined) return { unit: undefined, reason: `held back: ${restraint.reason}` }
      const unit = units.getOwned(name)
      return unit && gate.admission(unit)
    },
  }
}
