import type { TaskGroup } from '../../base/task-group.ts'
import type { DependencyGate } from '../dependency-gate.ts'
import type { Forwarding } from '../logs/forwarding.ts'
import type { Restraints } from '../restraint.ts'
import type { Output } from '../output.ts'
import type { Watches } from '../watch/watches.ts'
import type { Gauges } from './gauges.ts'
import type { Inheritance } from './inheritance.ts'
import type { Turns } from './turns.ts'
import type { UnitSet } from './unit-set.ts'

export interface LifeSeams {
  readonly units: UnitSet
  readonly turns: Turns
  readonly gate: DependencyGate
  readonly restraints: Restraints
  readonly watches: Watches
  readonly inheritance: Inheritance
  readonly gauges: Gauges
  readonly output: Output
  readonly forwarding: Pick<Forwarding, 'stop'>
  readonly tasks: TaskGroup
  readonly nodeEvent: () => string
}

/** How a supervisor begins and ends. */
export interface SupervisorLife {
  /** Reads what earlier nodes left. */
  start(): Promise<void>
  /** Stops all units, dependants first; what was wanted of them stays as it was. */
  stop(): Promise<void>
  /** Lets go of all units without stopping them: another node with the same directories takes them over. */
  abandon(): Promise<void>
}

export function createLife(seams: LifeSeams): SupervisorLife {
  const { units, turns, gate, restraints, watches, inheritance, gauges, output, forwarding, tasks, nodeEvent } = seams

  /** Nothing is begun any more by itself. */
  async function quieten(): Promise<void> {
    for (const unit of units.owned) unit.beginClosing()
    gate.close()
    restraints.close()
    await turns.settled()
    await watches.close()
  }

  async function end(): Promise<void> {
    await Promise.all(units.watched.map((unit) => unit.end()))
    await tasks.stop()
    await gauges.meter.stop()
    await gauges.limitMeter.stop()
    await forwarding.stop()
    await output.close()
  }

  return {
    async start() {
      await inheritance.read()
      await gauges.meter.start()
      await gauges.limitMeter.start()
      await inheritance.clearStrays()
      turns.life = 'running'
      restraints.open()
    },
    async stop() {
      if (turns.life === 'abandoned') return
      if (turns.life === 'running') turns.life = 'over'
      await quieten()
      try {
        const origin = { causedBy: nodeEvent() }
        await units.inReverseOrder((unit) => unit.close(origin))
      } finally {
        await end()
      }
    },
    async abandon() {
      turns.life = 'abandoned'
      units.handOver()
      await quieten()
      await Promise.all(units.owned.map((unit) => unit.abandon()))
      await end()
    },
  }
}
