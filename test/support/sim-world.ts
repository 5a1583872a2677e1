import { join } from 'node:path'
import type { Test } from 'tap'
import {
  createSupervisor,
  type InstanceStatus,
  type ProcessEvent,
  type Supervisor,
  type SupervisorSeams,
  type UnitSpec,
} from '../../src/process/index.ts'
import { type MemoryLog, memoryLog } from './memory-log.ts'
import { seeded } from '../../src/sim/seeded.ts'
import { SimClock } from '../../src/sim/sim-clock.ts'
import { SimHost } from '../../src/sim/sim-host.ts'
import { SimDisk, simStore } from '../../src/sim/sim-store.ts'
import { until } from './until.ts'

/** A machine, its disk and its time: what stays when supervisors come and go. */
export class World {
  readonly clock = new SimClock()
  readonly host = new SimHost()
  readonly disk = new SimDisk()
  readonly logDir: string
  runDir = '/run/hsu'
  readonly #t: Test

  constructor(t: Test) {
    this.#t = t
    this.logDir = t.testdir({})
  }

  async supervise(
    specs: readonly UnitSpec[],
    changed: Partial<SupervisorSeams> = {},
    goesOn = false,
  ): Promise<Watched> {
    const watched = await this.boot(changed, goesOn)
    await watched.supervisor.apply(specs)
    await this.clock.advance(0)
    return watched
  }

  /** A supervisor that was not told yet which units it has. */
  async boot(changed: Partial<SupervisorSeams> = {}, goesOn = false): Promise<Watched> {
    const log = memoryLog()
    const { clock, host } = this
    const supervisor = createSupervisor(
      {
        clock,
        host,
        log,
        random: seeded(3),
        store: simStore(this.disk),
        grpc: { check: async () => true },
        environmentOf: () => ({}),
        drain: async () => undefined,
        ...changed,
      },
      { runDir: this.runDir, logDir: join(this.logDir, 'logs'), goesOn },
    )
    const watched = new Watched(supervisor, this, log)
    const started = supervisor.start()
    await clock.advance(10)
    await started
    this.#t.teardown(() => supervisor.abandon())
    return watched
  }
}

/** A supervisor over a `World`, with all it told. */
export class Watched {
  readonly events: ProcessEvent[] = []
  readonly supervisor: Supervisor
  readonly world: World
  readonly log: MemoryLog

  constructor(supervisor: Supervisor, world: World, log: MemoryLog) {
    this.supervisor = supervisor
    this.world = world
    this.log = log
    supervisor.events.subscribe((event) => this.events.push(event))
  }

  status(unit: string, replica = 0): InstanceStatus {
    const found = this.supervisor.status().find((each) => each.unit === unit && each.replica === replica)
    if (found === undefined) throw new Error(`no unit ${unit}`)
    return found
  }

  states(): Record<string, string> {
    return Object.fromEntries(
      this.supervisor.status().map(({ unit, state, ready }) => [unit, ready ? `${state} ready` : state]),
    )
  }

  /** Lets time pass in small steps, so that what follows from one thing is done before the next. */
  async pass(ms: number, stepMs = 10): Promise<void> {
    for (let left = ms; left > 0; left -= stepMs) await this.world.clock.advance(Math.min(left, stepMs))
    await this.world.clock.advance(0)
    await this.world.clock.advance(0)
  }

  async crash(unit: string, code = 1): Promise<void> {
    const [pid] = this.world.host.pidsOf(unit)
    if (pid === undefined) throw new Error(`${unit} does not run`)
    this.world.host.exit(pid, { code })
    await this.pass(0)
  }

  typesOf(unit: string): string[] {
    return this.events.filter((event) => event.unit === unit).map(({ type }) => type.replace('unit.', ''))
  }
}

/** Lets time pass until it has come about. What units write is on a real disk, so a number of steps is no measure. */
export async function passUntil<T>(node: Watched, wanted: Promise<T>): Promise<T> {
  let settled = false
  const settle = (): void => {
    settled = true
  }
  wanted.then(settle, settle)
  await until('what is waited for', async () => {
    await node.pass(10)
    return settled
  })
  return wanted
}
