import type { NodeEvent, NodeSetup } from '../node/index.ts'
import { type Breach, Invariants } from './invariants.ts'
import type { Machine } from './machine.ts'
import { describeAct, perform, type SetupOf } from './perform.ts'
import type { Script } from './script.ts'
import { SimWorld } from './world.ts'

export interface SimulationOptions {
  /** The same seed gives the same run. */
  readonly seed: number
  /** One for each host. */
  readonly setups: readonly NodeSetup[]
  readonly script: Script
  /** Finds the configuration that a `reload` of the script asks for; it was read before. */
  readonly setupOf?: SetupOf
  /** Told of each second once it is over. */
  readonly onSecond?: (second: Second) => Promise<void> | void
  /** Ends the simulation early. */
  readonly signal?: AbortSignal
}

/** One second, and how the world is at its end. */
export interface Second {
  /** Since the beginning. */
  readonly atMs: number
  /** What the script did, and when. */
  readonly acts: readonly { readonly atMs: number; readonly what: string }[]
  readonly events: readonly { readonly atMs: number; readonly event: NodeEvent }[]
  readonly breaches: readonly Breach[]
  readonly nodes: readonly NodeState[]
}

export interface NodeState {
  readonly node: string
  /** `frozen` = stopped without ending; `down` = there is none. */
  readonly state: 'starting' | 'up' | 'frozen' | 'down'
  /** What it believes of the others, by name. */
  readonly sees: Readonly<Record<string, string>>
  readonly units: readonly UnitState[]
}

export interface UnitState {
  readonly unit: string
  readonly replica: number
  readonly state: string
  readonly ready: boolean
}

export interface Outcome {
  readonly breaches: readonly Breach[]
  readonly world: SimWorld
  readonly invariants: Invariants
}

const SECOND_MS = 1_000

/** Right after something was done to it, the world is looked at once more. */
const SOON_MS = 100

/** Starts a node on each host and lets a script happen to them. The world goes on where the script ends. */
export async function simulate(options: SimulationOptions): Promise<Outcome> {
  const { seed, setups, script, onSecond, signal } = options
  const world = new SimWorld({ seed, setups, behaviours: script.behaviours })
  const invariants = new Invariants(world)
  const setupOf = options.setupOf ?? ((name) => world.machine(name).setup)
  const breaches: Breach[] = []
  const steps = [...script.steps]
  const states = new NodeStates(world)
  for (const { name } of world.machines) world.start(name)

  for (let nowMs = 0; nowMs < script.forMs && signal?.aborted !== true; ) {
    const endMs = Math.min(nowMs + SECOND_MS, script.forMs)
    const acts: { atMs: number; what: string }[] = []
    const found: Breach[] = []
    for (let next = steps[0]; next !== undefined && next.atMs < endMs; next = steps[0]) {
      await world.clock.advance(next.atMs - world.clock.nowMs())
      perform(world, next.what, setupOf)
      acts.push({ atMs: next.atMs, what: describeAct(next.what) })
      steps.shift()
      const soonMs = Math.min(next.atMs + SOON_MS, steps[0]?.atMs ?? endMs, endMs)
      await world.clock.advance(soonMs - world.clock.nowMs())
      found.push(...invariants.check())
    }
    await world.clock.advance(endMs - world.clock.nowMs())
    nowMs = endMs
    found.push(...invariants.check())
    breaches.push(...found)
    const events = world.takeTold()
    if (onSecond !== undefined)
      await onSecond({
        atMs: nowMs,
        acts,
        events,
        breaches: found,
        nodes: world.machines.map((each) => states.of(each)),
      })
  }
  return { breaches, world, invariants }
}

/** How nodes are; one that has not changed is the same object as before. */
class NodeStates {
  readonly #world: SimWorld
  readonly #kept = new Map<Machine, { readonly revision: number; readonly state: NodeState }>()

  constructor(world: SimWorld) {
    this.#world = world
  }

  of(machine: Machine): NodeState {
    const { name, node, life, nodeId, revision } = machine
    const isFrozen = this.#world.network.times.isFrozen(nodeId)
    const state = life.over ? 'down' : node === undefined ? 'starting' : isFrozen ? 'frozen' : 'up'
    const kept = this.#kept.get(machine)
    if (kept?.revision === revision && kept.state.state === state) return kept.state
    const others = node?.core.world.members().filter(({ self }) => !self) ?? []
    const made: NodeState = {
      node: name,
      state,
      sees: Object.fromEntries(others.map(({ nodeId: id, record, status }) => [record?.name ?? id, status])),
      units: (node?.core.supervisor.status() ?? []).map((status) => ({
        ...{ unit: status.unit, replica: status.replica, state: status.state, ready: status.ready },
      })),
    }
    const isAsBefore = JSON.stringify(kept?.state) === JSON.stringify(made)
    const shown = isAsBefore && kept !== undefined ? kept.state : made
    this.#kept.set(machine, { revision, state: shown })
    return shown
  }
}

/** What is not well yet once `withinMs` have passed; nothing as soon as all is well. Breaches that turned up meanwhile are added to. */
export async function untilSettled({ world, invariants }: Outcome, withinMs: number): Promise<Unsettled> {
  const breaches: Breach[] = []
  const untilMs = world.clock.nowMs() + withinMs
  for (;;) {
    const unsettled = invariants.unsettled()
    if (unsettled.length === 0 || world.clock.nowMs() >= untilMs) return { unsettled, breaches }
    await world.clock.advance(SECOND_MS)
    breaches.push(...invariants.check())
  }
}

export interface Unsettled {
  readonly unsettled: readonly string[]
  readonly breaches: readonly Breach[]
}
