import { HsuError, messageOf } from '../base/error.ts'
import { ALL_EVENTS, type NodeEvent, type NodeSetup, type RunningNode, startNode } from '../node/index.ts'
import type { ServiceImplementation } from '../rpc/index.ts'
import type { Behaviour } from './behaviour.ts'
import type { Life } from './life.ts'
import { Machine } from './machine.ts'
import { simOutside } from './outside.ts'
import { seeded } from './seeded.ts'
import { SimClock } from './sim-clock.ts'
import { SimNetwork } from './sim-network.ts'

export interface SimWorldOptions {
  /** The same seed gives the same run. */
  readonly seed: number
  /** One for each host; their names differ. */
  readonly setups: readonly NodeSetup[]
  /** How the programs of units behave, by unit. */
  readonly behaviours?: ReadonlyMap<string, Behaviour>
  /** How long connections outlive a partition, in ms. Default 10 s. */
  readonly brokenAfterMs?: number
}

/** Something a node told, and when by the clock of the world. */
export interface Told {
  readonly atMs: number
  readonly event: NodeEvent
}

/** A call from one node to another, there and back. */
const CALL_MS = 4

/** Hosts, their nodes and what is between them, on one simulated clock. Its methods are what may happen to them. */
export class SimWorld {
  readonly clock = new SimClock()
  readonly network: SimNetwork
  readonly machines: readonly Machine[]
  /** Told since it was last taken. */
  #told: Told[] = []
  readonly #random
  readonly #ending: Promise<unknown>[] = []
  readonly #stopping = new Set<Machine>()

  constructor({ seed, setups, behaviours = new Map(), brokenAfterMs = 10_000 }: SimWorldOptions) {
    const { clock } = this
    this.#random = seeded(seed)
    this.network = new SimNetwork({ clock, random: seeded(seed + 1_000), brokenAfterMs })
    this.machines = setups.map((setup, index) => new Machine(clock, setup, addressOf(index), new Map(behaviours)))
  }

  /** @throws HsuError NODE_NOT_FOUND */
  machine(name: string): Machine {
    const found = this.machines.find((machine) => machine.name === name)
    if (found !== undefined) return found
    const names = this.machines.map((machine) => machine.name).join(', ')
    throw new HsuError('NODE_NOT_FOUND', `no simulated node '${name}'; there are ${names}`, { details: { node: name } })
  }

  /** The hosts whose node has been started and has not ended, if only by being asked to. */
  get living(): readonly Machine[] {
    return this.machines.filter(({ life }) => !life.over)
  }

  /** What was told since the last time this was asked, in order. */
  takeTold(): readonly Told[] {
    const told = this.#told
    this.#told = []
    return told
  }

  /** Starts the node of a host, with what its disk holds; nothing when it runs. One that is about to end starts after that. */
  start(name: string): void {
    const machine = this.machine(name)
    machine.again = this.#stopping.has(machine)
    if (!machine.life.over) return
    const life: Life = { over: false }
    machine.life = life
    const surroundings = {
      clock: this.clock,
      network: this.network,
      random: seeded(Math.floor(this.#random.next() * 2 ** 32)),
      reach: (from: Machine, to: string) => this.#reach(from, to),
    }
    const outside = simOutside(surroundings, machine, () => this.machines, life)
    startNode(outside, machine.setup, { reread: async () => machine.setup }).then(
      (node) => {
        if (life.over) return
        machine.node = node
        watch(machine, node)
        void this.#listen(machine, life)
        void node.shutdownRequested.then(() => this.stop(name))
      },
      (error: unknown) => {
        machine.log().error('the node did not start', { cause: messageOf(error) })
        life.over = true
      },
    )
  }

  /** Asks a node to end, as `hsu down` does. */
  stop(name: string): void {
    const machine = this.machine(name)
    const { node, life } = machine
    if (node === undefined || life.over || this.#stopping.has(machine)) return
    this.#stopping.add(machine)
    const stopped = node.stop().catch((error: unknown) => {
      machine.log().error('the node did not stop well', { cause: messageOf(error) })
    })
    this.#ending.push(
      stopped.then(() => {
        if (machine.life !== life) return
        this.#bury(machine)
        if (machine.again) this.start(name)
      }),
    )
  }

  /** kill -9 of the node; its units run on. */
  kill(name: string): void {
    const machine = this.machine(name)
    if (machine.life.over) return
    machine.wasHeldUp = true
    this.#bury(machine)
    this.network.crash(machine.nodeId)
  }

  /** The host loses its power: its node and its programs are gone at once, and what its disk had not got. */
  crash(name: string): void {
    const machine = this.machine(name)
    if (!machine.life.over) this.network.vanish(machine.nodeId)
    this.#bury(machine)
    machine.losePower(this.#random.next() < 0.5 ? 'torn' : 'before')
  }

  /** `crash`, and power again after `downMs`. */
  bounce(name: string, downMs: number): void {
    this.crash(name)
    this.clock.after(downMs, () => this.start(name))
  }

  freeze(name: string, forMs?: number): void {
    const machine = this.machine(name)
    const { nodeId } = machine
    machine.wasHeldUp = true
    this.network.freeze(nodeId)
    if (forMs !== undefined) this.clock.after(forMs, () => this.network.thaw(nodeId))
  }

  thaw(name: string): void {
    this.network.thaw(this.machine(name).nodeId)
  }

  skew(name: string, byMs: number): void {
    this.network.skew(this.machine(name).nodeId, byMs)
  }

  /** Groups that hear nothing of each other; whoever is in none is with the others in none. */
  partition(groups: readonly (readonly string[])[]): void {
    this.network.partition(...groups.map((group) => this.#idsOf(group)))
  }

  cut(from: readonly string[], to: readonly string[]): void {
    this.network.cutOneWay(this.#idsOf(from), this.#idsOf(to))
  }

  /** All cables are whole again. */
  repair(): void {
    this.network.heal()
  }

  /** Of what all send, or one, this share is lost. */
  lose(share: number, from?: string): void {
    if (from === undefined) this.network.loss = share
    else this.network.lossFrom.set(this.machine(from).nodeId, share)
  }

  diskFull(name: string, isFull: boolean): void {
    const { disk, events } = this.machine(name)
    disk.full = isFull
    events.room = isFull ? 0 : Infinity
  }

  /** The host gets another address in the same network. */
  move(name: string): void {
    const machine = this.machine(name)
    machine.address = addressOf(this.machines.length + (this.#moves += 1))
    this.network.move(machine.nodeId, machine.meshAddresses)
  }
  #moves = 0

  /** Programs of a unit end by themselves. */
  exit(name: string, unit: string, code: number): void {
    const { host } = this.machine(name)
    for (const pid of host.pidsOf(unit)) host.exit(pid, { code })
  }

  /** Gives a node another configuration, as `hsu reload` does; one that does not run has it at its next start. */
  reload(name: string, setup: NodeSetup): void {
    const machine = this.machine(name)
    machine.setup = setup
    // What fails is an event of the node.
    void machine.node?.core.reload(false, 'the script').catch(() => undefined)
  }

  /** Ends all nodes politely; resolves when they have. */
  async stopAll(): Promise<void> {
    this.repair()
    for (const { name } of this.machines) this.thaw(name)
    for (const machine of this.machines) machine.again = false
    for (const { name } of this.living) this.stop(name)
    for (let ms = 0; this.living.length > 0 && ms < 60_000; ms += 100) await this.clock.advance(100)
    await Promise.all(this.#ending)
  }

  #idsOf(names: readonly string[]): string[] {
    return names.map((name) => this.machine(name).nodeId)
  }

  #bury(machine: Machine): void {
    machine.life.over = true
    this.#stopping.delete(machine)
    machine.revision += 1
    machine.node = undefined
    machine.api = undefined
  }

  async #listen({ node, name }: Machine, life: Life): Promise<void> {
    if (node === undefined) return
    const query = { ...ALL_EVENTS, follow: true, sinceMs: node.core.info.startedAtMs }
    for await (const event of node.core.events.query(query, new AbortController().signal)) {
      if (life.over && event.type !== 'node.stopping') return
      this.#told.push({ atMs: this.clock.nowMs(), event: { ...event, node: name } })
    }
  }

  async #reach(from: Machine, to: string): Promise<readonly ServiceImplementation[]> {
    const target = this.machines.find(({ name, nodeId }) => to === name || to === nodeId)
    await this.network.clockOf(from.nodeId, from.life).sleep(CALL_MS)
    if (target === from) return from.api ?? []
    const reaches = target !== undefined && this.network.isOpen(from.nodeId, target.nodeId)
    if (target?.api === undefined || !reaches)
      throw new HsuError('NODE_UNREACHABLE', `node ${to} cannot be reached`, { details: { node: to } })
    return target.api
  }
}

function watch(machine: Machine, { core }: RunningNode): void {
  const count = (): void => {
    machine.revision += 1
  }
  count()
  core.world.changes.subscribe(count)
  core.supervisor.changes.subscribe(count)
}

function addressOf(index: number): string {
  return `10.0.${Math.floor((index + 1) / 250)}.${((index + 1) % 250) + 1}`
}
