import { aborted, withSignal } from '../../base/abort.ts'
import type { TaskGroup } from '../../base/task-group.ts'
import type { Asker, Origin } from '../causes.ts'
import type { Restraints } from '../restraint.ts'
import type { StoppedInstance } from '../status.ts'
import type { Account } from './account.ts'
import { checkScale } from './scale.ts'
import { parseSignalName } from './signal-name.ts'
import type { RestartMode } from './owned-unit.ts'
import type { Turns } from './turns.ts'
import { isOwned, type UnitSet } from './unit-set.ts'

/**
 * What people may ask of units. Each is told as an event before it is done. While it is not known yet what an earlier
 * node left of a unit, each waits for that, 30 s at most, and then fails with `TIMED_OUT`.
 */
export interface UnitRequests {
  /**
   * Wants the unit up; resolves when it is on its way or waits for a dependency. Idempotent. `args` are put behind
   * those of the configuration, for this start and the restarts that follow from it. A job is run once. Asked by somebody,
   * it starts what the unit depends on as well.
   *
   * @throws HsuError `UNIT_NOT_FOUND`, `UNIT_NOT_MANAGED`, `SPAWN_FAILED`, `UNIT_FAILED`, `UNSUPPORTED`,
   * `NODE_DRAINING` when the unit or the node is being ended, `ALREADY_RUNNING` for arguments that come too late, or for a
   * job whose terms forbid another run now
   */
  startUnit(unit: string, signal: AbortSignal, asker?: Asker, args?: readonly string[]): Promise<void>
  /** Resolves when its processes are gone, with how each of them ended. @throws HsuError `UNIT_NOT_FOUND`, `UNIT_NOT_MANAGED` */
  stopUnit(unit: string, signal: AbortSignal, asker?: Asker): Promise<readonly StoppedInstance[]>
  /** As `stopUnit` for all units that are not unmanaged: dependants first, otherwise side by side. */
  stopAllUnits(signal: AbortSignal, asker?: Asker): Promise<readonly StoppedInstance[]>
  /**
   * Single flight: concurrent calls join the restart that has not spawned yet. Several replicas are restarted in turn, each once
   * the one before serves; `at once`: side by side; `force`: so too, and waits for no drain, no dependency and no backoff.
   * @throws as `startUnit`; in turn also `UNIT_FAILED` and `TIMED_OUT` when a replica does not serve, `CANCELLED` when
   * something else was asked of the unit meanwhile
   */
  restartUnit(unit: string, signal: AbortSignal, asker?: Asker, mode?: RestartMode): Promise<void>
  /** Ends it by force; a managed unit then follows its restart policy. @throws HsuError `UNIT_NOT_FOUND`, `NOT_PERMITTED` */
  killUnit(unit: string, asker?: Asker): Promise<void>
  /** Signals the unit's own program. @throws HsuError `UNIT_NOT_FOUND`, `NOT_PERMITTED`, `NOT_STARTED`, `USAGE` */
  signalUnit(unit: string, signalName: string, asker?: Asker): Promise<void>
  /** Starts what of the unit sleeps, for `asker`; nothing that is down, or waits, for another reason. @throws as `startUnit` */
  wakeUnit(unit: string, signal: AbortSignal, asker: Asker): Promise<void>
  /** Puts replicas to sleep, but for the first `keep`. Resolves at once. @throws HsuError `UNIT_NOT_FOUND`, `UNIT_NOT_MANAGED` */
  sleepUnit(unit: string, keep: number, reason: string): void
  /** Changes the number of replicas until the configured number changes. @throws HsuError `UNIT_NOT_FOUND`, `UNIT_NOT_MANAGED`, `USAGE` */
  scaleUnit(unit: string, replicas: number, signal: AbortSignal, asker?: Asker): Promise<void>
}

/** Starts what a unit depends on and nobody wants yet. Whether that comes up, its own state tells. */
export type StartNeeds = (unit: string, origin: Origin) => void

export function needsStarter({ units, tasks }: { readonly units: UnitSet; readonly tasks: TaskGroup }): StartNeeds {
  return (name, origin) => {
    for (const unit of units.needsOf(name)) {
      tasks.run((signal) => unit.start(signal, origin, undefined).catch(() => undefined))
    }
  }
}

export interface RequestSeams {
  readonly tasks: TaskGroup
  readonly units: UnitSet
  readonly turns: Turns
  readonly account: Pick<Account, 'request'>
  readonly restraints: Pick<Restraints, 'overrule'>
}

export function createRequests({ units, turns, account, tasks, restraints }: RequestSeams): UnitRequests {
  const { request } = account
  const startNeeds = needsStarter({ units, tasks })

  async function stopAll(signal: AbortSignal, asker: Asker | undefined): Promise<readonly StoppedInstance[]> {
    const stopped: StoppedInstance[] = []
    await units.inReverseOrder(async (unit) => {
      // Whoever asked may have turned away in the meantime: then the rest goes on running.
      signal.throwIfAborted()
      if (unit.slots.length === 0) return
      stopped.push(...(await unit.stop(signal, request(unit.spec.name, 'stop', asker))))
    })
    return stopped
  }

  async function scale(name: string, replicas: number, signal: AbortSignal, asker: Asker | undefined): Promise<void> {
    const scaled = turns.take(async () => {
      signal.throwIfAborted()
      const unit = units.findOwned(name)
      checkScale(unit.spec, replicas)
      await unit.scale(replicas, () => request(name, 'scale', asker, `scale to ${replicas}`))
    })
    // Who asked may turn away; a slot half retired would leave its process to nobody.
    await withSignal(signal, (inner) => Promise.race([scaled, aborted(inner)]))
    signal.throwIfAborted()
  }

  return {
    async startUnit(name, signal, asker, args) {
      const unit = units.findOwned(name)
      const origin = request(name, 'start', asker)
      if (origin !== undefined) {
        restraints.overrule(name)
        startNeeds(name, origin)
      }
      await unit.start(signal, origin, asker, args)
    },
    async stopUnit(name, signal, asker) {
      return units.findOwned(name).stop(signal, request(name, 'stop', asker))
    },
    stopAllUnits: stopAll,
    async restartUnit(name, signal, asker, mode = 'in turn') {
      const unit = units.findOwned(name)
      const origin = request(name, mode === 'force' ? 'forced restart' : 'restart', asker)
      if (origin !== undefined) restraints.overrule(name)
      await unit.restart(signal, origin, asker, mode)
    },
    async killUnit(name, asker) {
      const unit = units.find(name)
      const origin = request(name, 'kill', asker)
      if (isOwned(unit)) await unit.each((slot) => slot.requests.kill(origin))
      else await unit.watched.signal('SIGKILL', origin)
    },
    async signalUnit(name, signalName, asker) {
      const unit = units.find(name)
      const signal = parseSignalName(signalName)
      const origin = request(name, 'signal', asker, `signal ${signal.replace('SIG', '')}`)
      if (isOwned(unit)) await unit.each((slot) => slot.requests.signal(signal))
      else await unit.watched.signal(signal, origin)
    },
    async wakeUnit(name, signal, asker) {
      const unit = units.findOwned(name)
      const origin = request(name, 'wake', asker)
      if (origin !== undefined) startNeeds(name, origin)
      await unit.wake(signal, origin)
    },
    sleepUnit: (name, keep, reason) => units.findOwned(name).sleep(keep, reason),
    scaleUnit: scale,
  }
}
