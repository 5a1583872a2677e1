import type { Clock } from '../../base/clock.ts'
import { type HsuError, messageOf } from '../../base/error.ts'
import type { Log } from '../../base/log.ts'
import type { Random } from '../../base/random.ts'
import { createTaskGroup } from '../../base/task-group.ts'
import { createTurnstile } from '../../base/turnstile.ts'
import type { InstanceStatus } from '../../process/index.ts'
import type { Door, DoorHandle, TcpDoor, TcpTarget } from '../../rpc/index.ts'
import { replicasOf } from '../activation/wake-state.ts'
import type { CallsSeen } from '../direct.ts'
import type { Outside } from '../outside.ts'
import { Refusals, type TurnedAway } from './refusals.ts'
import type { UnitListen } from './unit-listen.ts'

export interface UnitDoorsSeams {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly servers: Pick<Outside['servers'], 'tcp'>
  /** As configured now. */
  readonly wanted: () => readonly UnitListen[]
  readonly status: () => readonly InstanceStatus[]
  /** Starts a unit of this node for a connection to `address`, or waits until it is ready. @throws HsuError why it is not */
  readonly wake: (unit: string, address: string, signal: AbortSignal) => Promise<void>
  readonly holdMsOf: (unit: string) => number
  readonly turnedAway: (news: TurnedAway) => void
}

/** The doors at which the node takes TCP connections for its units, also while these sleep. */
export interface UnitDoors extends Door {
  /** Opens and closes doors as configured now; the others stay as they are. */
  refresh(): void
  /** Connections that go to an instance through here. */
  connectionsOf(instance: string): CallsSeen
  handles(): readonly DoorHandle[]
}

/** An address that another program has is tried again so often. */
const RETRY_MS = 5_000

interface Opened {
  readonly listen: string
  readonly door: TcpDoor
  listens: boolean
}

export function createUnitDoors(seams: UnitDoorsSeams, inherited: readonly DoorHandle[] | undefined): UnitDoors {
  return new Doors(seams, inherited)
}

class Doors implements UnitDoors {
  readonly name = 'doors of units'
  readonly #seams: UnitDoorsSeams
  readonly #refusals: Refusals
  readonly #doors = new Map<string, Opened>()
  readonly #counts = new Map<string, { open: number; total: number }>()
  #inherited: readonly DoorHandle[] | undefined
  readonly #turns = createTurnstile(1)
  readonly #tasks
  #retrying = false
  #began = false

  constructor(seams: UnitDoorsSeams, inherited: readonly DoorHandle[] | undefined) {
    this.#seams = seams
    this.#inherited = inherited
    this.#refusals = new Refusals(seams.clock, seams.turnedAway)
    this.#tasks = createTaskGroup((error) =>
      seams.log.error('doors of units are not looked after', { cause: messageOf(error) }),
    )
  }

  start(): Promise<void> {
    this.#began = true
    return this.#turns.pass(() => this.#update())
  }

  /** As for any door, callers are let in once the process before this one is replaced. */
  open(): Promise<void> {
    this.#inherited = undefined
    return this.#turns.pass(async () => {
      for (const opened of this.#doors.values()) await this.#listen(opened, () => opened.door.open())
    })
  }

  async retire(graceMs: number): Promise<void> {
    this.#began = false
    await this.#turns.pass(async () => {
      await Promise.all([...this.#doors.values()].map(({ door }) => door.retire(graceMs)))
      this.#doors.clear()
    })
  }

  async stop(): Promise<void> {
    await this.retire(0)
    await this.#tasks.stop()
    this.#refusals.stop()
  }

  refresh(): void {
    if (this.#began) this.#tasks.run(() => this.#turns.pass(() => this.#update()))
  }

  connectionsOf(instance: string): CallsSeen {
    const { open = 0, total = 0 } = this.#counts.get(instance) ?? {}
    return { inFlight: open, total }
  }

  handles(): readonly DoorHandle[] {
    return [...this.#doors.values()].flatMap(({ door }) => door.handle() ?? [])
  }

  async #update(): Promise<void> {
    if (!this.#began) return
    const wanted = new Map(this.#seams.wanted().map((each) => [`${each.unit}\n${each.port}`, each]))
    for (const [key, { listen, door }] of this.#doors) {
      if (wanted.get(key)?.listen === listen) continue
      this.#doors.delete(key)
      await door.stop()
    }
    for (const [key, each] of wanted) {
      const opened = this.#doors.get(key) ?? { listen: each.listen, door: this.#create(each), listens: false }
      this.#doors.set(key, opened)
      await this.#listen(opened, () => opened.door.start())
    }
  }

  /** An address that cannot be had keeps no node from starting: the program that has it may be the unit's own, of before. */
  async #listen(opened: Opened, listen: () => Promise<void>): Promise<void> {
    if (opened.listens) return
    try {
      await listen()
      opened.listens = this.#inherited === undefined
    } catch (error) {
      if (!this.#retrying) this.#seams.log.error('a door is not open, and is tried again', { cause: messageOf(error) })
      this.#retryLater()
    }
  }

  #retryLater(): void {
    if (this.#retrying) return
    this.#retrying = true
    this.#tasks.run(async (signal) => {
      await this.#seams.clock.sleep(RETRY_MS, signal).catch(() => undefined)
      this.#retrying = false
      this.refresh()
    })
  }

  #create({ unit, port, listen }: UnitListen): TcpDoor {
    const { clock, random, log, servers, wake, holdMsOf } = this.#seams
    const handle = this.#inherited?.find(({ configured }) => configured === listen)
    return servers.tcp(
      {
        ...{ clock, random, log },
        pick: () => this.#pick(unit, port),
        wake: (signal) => wake(unit, listen, signal),
        count: (instance, connections) => this.#count(instance, connections),
        refused: (error: HsuError) => this.#refusals.add({ unit, listen }, error),
      },
      { unit, listen, holdMs: () => holdMsOf(unit), ...(this.#inherited && { takeover: { handle } }) },
    )
  }

  /** The ready instance with the fewest connections through here. */
  #pick(unit: string, port: string): TcpTarget | undefined {
    const ready = replicasOf(unit, this.#seams.status()).filter((each) => each.ready && each.ports[port] !== undefined)
    const open = ({ instance }: InstanceStatus): number => this.connectionsOf(instance).inFlight
    const [best] = ready.sort((one, other) => open(one) - open(other))
    return best && { instance: best.instance, address: `127.0.0.1:${best.ports[port]}` }
  }

  #count(instance: string, connections: 1 | -1): void {
    const known = this.#counts.get(instance)
    if (known === undefined) this.#forgetGone()
    const count = known ?? { open: 0, total: 0 }
    count.open += connections
    if (connections > 0) count.total += 1
    this.#counts.set(instance, count)
  }

  #forgetGone(): void {
    const live = new Set(this.#seams.status().map(({ instance }) => instance))
    for (const [instance, { open }] of this.#counts)
      if (open === 0 && !live.has(instance)) this.#counts.delete(instance)
  }
}
