import { createWorldView } from '../../src/node/world-view.ts'
import { createOffers } from '../../src/node/offers.ts'
import { PartitionKeeper } from '../../src/node/partition/keeper.ts'
import type { PartitionPolicy } from '../../src/node/partition/config.ts'
import { createSupervisor, type ProcessEvent, type Supervisor } from '../../src/process/index.ts'
import { memoryLog } from './memory-log.ts'
import { type Life, mortal } from '../../src/sim/life.ts'
import { seeded } from '../../src/sim/seeded.ts'
import { SimHost } from '../../src/sim/sim-host.ts'
import { SimMesh, type SimMeshOptions, type SimNode } from './sim-mesh.ts'
import { simStore } from '../../src/sim/sim-store.ts'
import { unitSpec } from './unit-spec.ts'

const NO_OUTPUT = {
  capture: () => ({ finish: async () => true, close: async () => undefined }),
  query: async function* () {
    // Programs of the simulated host write nothing.
  },
  batches: async function* () {
    // Nor is anything forwarded.
  },
  close: async () => undefined,
}

/** What people do not ask for. */
const NEVER = new AbortController().signal

/** One host of a site: what it runs outlives its node. */
interface SiteHost {
  readonly host: SimHost
  readonly life: Life
  readonly supervisor: Supervisor
  readonly keeper: PartitionKeeper
  readonly events: ProcessEvent[]
}

/** Hosts that all have the same units, each with a whole mesh, supervisor and partition policy, on simulated time. */
export class SimSite {
  readonly sim: SimMesh
  readonly #policies: Readonly<Record<string, PartitionPolicy>>
  readonly #hosts = new Map<string, SiteHost>()
  readonly #machines = new Map<string, SimHost>()

  constructor(options: SimMeshOptions, policies: Readonly<Record<string, PartitionPolicy>>) {
    this.sim = new SimMesh(options)
    this.#policies = policies
  }

  /** All hosts, on and past the time in which they ask each other. */
  static async formed(options: SimMeshOptions, policies: Readonly<Record<string, PartitionPolicy>>): Promise<SimSite> {
    const site = new SimSite(options, policies)
    for (const { name } of site.sim.nodes) await site.start(name)
    await site.pass(8_000)
    return site
  }

  async start(name: string): Promise<void> {
    const { sim } = this
    const node = sim.node(name)
    const host = this.#machines.get(name) ?? new SimHost()
    this.#machines.set(name, host)
    const life = { over: false }
    const clock = sim.network.clockOf(node.nodeId)
    const store = simStore(node.disk)
    const random = seeded(7)
    const guarded = mortal(life, (ms) => clock.sleep(ms), random)
    const seams = { random, clock: guarded.clock(clock), store: guarded.store(store), host: guarded.host(host) }
    const log = memoryLog()
    const world = createWorldView({ mesh: () => node.mesh, own: () => offers.registrations() }, recordOf(node))
    const keeper: PartitionKeeper = new PartitionKeeper({
      ...{ log, world, clock: seams.clock, store: seams.store, self: { nodeId: node.nodeId, name } },
      statuses: () => supervisor.status(),
      policyOf: (unit) => this.#policies[unit] ?? 'keep',
      changed: () => offers.refresh(),
    })
    const supervisor: Supervisor = createSupervisor(
      {
        ...{ ...seams, log, restraints: keeper, output: NO_OUTPUT },
        grpc: { check: async () => true },
        environmentOf: () => ({}),
        drain: async () => undefined,
      },
      { runDir: '/run/hsu', logDir: '/log' },
    )
    const offers = createOffers({
      ...{ clock: seams.clock, random: seams.random, log, supervisor },
      askServices: async () => [],
      configuredServices: () => [],
      tenureOf: (unit) => keeper.tenureOf(unit),
    })
    const publish = (): void => {
      if (life.over) return
      node.mesh?.publish(offers.registrations())
      world.refresh()
    }
    offers.changes.subscribe(publish)
    const events: ProcessEvent[] = []
    supervisor.events.subscribe((event) => events.push(event))
    this.#hosts.set(name, { host, life, supervisor, keeper, events })
    await sim.run(keeper.begin())
    await sim.run(supervisor.start())
    const restart = { backoff: '10ms..20ms' } as const
    await sim.run(
      supervisor.apply(Object.keys(this.#policies).map((unit) => unitSpec(unit, { run: ['./program'], restart }))),
    )
    const mesh = await sim.start(name)
    publish()
    mesh.changes.subscribe(() => {
      if (!life.over) world.refresh()
    })
  }

  /** SIGKILL of the node; `andUnits`: the whole host loses its power. */
  async kill(name: string, andUnits: boolean): Promise<void> {
    const { life, host } = this.host(name)
    life.over = true
    this.#hosts.delete(name)
    if (andUnits) host.reboot()
    await this.sim.crash(name)
  }

  host(name: string): SiteHost {
    const host = this.#hosts.get(name)
    if (host === undefined) throw new Error(`${name} is down`)
    return host
  }

  /** The hosts on which a unit has processes, those of a host without a node too. */
  runningOn(unit: string): string[] {
    return [...this.#machines].filter(([, host]) => host.pidsOf(unit).length > 0).map(([name]) => name)
  }

  reasonOf(name: string, unit: string): string {
    return (
      this.host(name)
        .supervisor.status()
        .find((status) => status.unit === unit)?.reason ?? ''
    )
  }

  eventsOf(name: string, unit: string): string[] {
    const told = this.host(name).events.filter((event) => event.unit === unit)
    return told.map(({ type, reason }) => `${type.replace('unit.', '')}${reason === '' ? '' : `: ${reason}`}`)
  }

  cut(...names: readonly string[]): void {
    this.sim.network.partition(this.sim.idOf(names))
  }

  heal(): void {
    this.sim.network.heal()
  }

  async ask(name: string, what: 'startUnit' | 'stopUnit' | 'restartUnit', unit: string): Promise<void> {
    await this.sim.run(
      this.host(name)
        .supervisor[what](unit, NEVER, { actor: 'anna' })
        .then(() => undefined),
    )
  }

  pass(ms: number): Promise<void> {
    return this.sim.pass(ms)
  }

  until(what: string, holds: () => boolean, withinMs: number): Promise<number> {
    return this.sim.until(what, holds, withinMs)
  }

  async end(): Promise<void> {
    for (const { life } of this.#hosts.values()) life.over = true
    await this.sim.stopAll()
  }
}

function recordOf({ nodeId, name }: SimNode): Parameters<typeof createWorldView>[1] {
  return {
    ...{ nodeId, name, incarnation: 0, startedIncarnation: 0, recordVersion: 0, version: '0.0.0' },
    ...{ meshAddresses: [], linkAddresses: [], linkFingerprint: '', labels: {} },
  }
}
