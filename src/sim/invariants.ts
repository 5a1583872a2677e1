import type { Machine } from './machine.ts'
import type { SimWorld } from './world.ts'

/** Something that must never be, and was. */
export interface Breach {
  readonly atMs: number
  readonly node: string
  readonly what: string
}

/** How long a node may take to notice that a program of its own has ended. */
const NOTICE_MS = 2_000

/** Looks at the world for what must not be (STYLE 1.10). Each breach is told once. */
export class Invariants {
  readonly #world: SimWorld
  readonly #known = new Set<string>()
  /** Since when a node takes a program for running that is gone, by node and pid. */
  readonly #goneSinceMs = new Map<string, number>()
  readonly #errorsSeen = new Map<Machine, number>()
  /** What each machine was like when its node was last looked into. */
  readonly #lookedAt = new Map<Machine, number>()

  /** Units that one node of all runs; `stops`: and never two at once. */
  readonly #exclusive: readonly { readonly unit: string; readonly stops: boolean }[]
  readonly #byId: ReadonlyMap<string, Machine>
  /** The highest incarnation seen on each disk. */
  readonly #stored = new Map<Machine, number>()

  constructor(world: SimWorld) {
    this.#world = world
    this.#exclusive = exclusiveUnits(world.machines)
    this.#byId = new Map(world.machines.map((machine) => [machine.nodeId, machine]))
  }

  /** What must hold at every moment. */
  check(): readonly Breach[] {
    return [...this.#twins(), ...this.#world.machines.flatMap((machine) => this.#checkOne(machine))]
  }

  #checkOne(machine: Machine): Breach[] {
    return [
      ...this.#told(machine, doubles(machine)),
      ...this.#told(machine, this.#faults(machine)),
      ...(machine.node === undefined
        ? []
        : [
            ...this.#told(machine, this.#unreaped(machine)),
            ...(this.#hasChanged(machine)
              ? this.#told(machine, [...ghosts(machine), ...this.#fromTheFuture(machine)])
              : []),
          ]),
    ]
  }

  /** A unit that is stopped on one side before it is replaced on the other, on two hosts at once. */
  #twins(): Breach[] {
    const never = this.#exclusive.filter(({ stops }) => stops)
    return never.flatMap(({ unit }) => {
      const hosts = this.#world.machines.filter(({ host }) => host.pidsOf(unit).length > 0)
      // Whoever was killed or frozen could not stop it in time; docs/MESH.md says so.
      const [first] = hosts
      if (first === undefined || hosts.length < 2 || hosts.some(({ wasHeldUp }) => wasHeldUp)) return []
      return this.#told(first, [`${unit} runs on ${hosts.map(({ name }) => name).join(' and ')}`])
    })
  }

  /** What is wrong with units that only one node runs. */
  #notOnce(): string[] {
    return this.#exclusive.flatMap(({ unit }) => {
      const hosts = this.#world.machines.filter(({ host }) => host.pidsOf(unit).length > 0)
      if (hosts.length === 1) return []
      return [`${unit} runs on ${hosts.length === 0 ? 'no node' : hosts.map(({ name }) => name).join(' and ')}`]
    })
  }

  #hasChanged(machine: Machine): boolean {
    const { revision } = machine
    if (this.#lookedAt.get(machine) === revision) return false
    this.#lookedAt.set(machine, revision)
    return true
  }

  /** What must hold some time after the last fault: why it does not yet, nothing when it does. */
  unsettled(): readonly string[] {
    const living = this.#world.living
    const truth = new Map(living.map(({ nodeId, node }) => [nodeId, incarnationOf(node)]))
    const offers = new Map(living.map((machine) => [machine.nodeId, offersOf(machine, machine.nodeId)]))
    const views = living.flatMap((machine) => {
      const { name, node } = machine
      if (node === undefined) return [`${name} is still starting`]
      if (machine.setup.mesh === undefined) return unready(machine)
      const members = node.core.world.members().filter(({ status }) => status === 'alive' || status === 'suspect')
      const wrong = members.filter(
        ({ nodeId, status, incarnation }) => status !== 'alive' || truth.get(nodeId) !== incarnation,
      )
      const stale = [...truth.keys()].filter((id) => offersOf(machine, id) !== offers.get(id))
      const names = (ids: readonly string[]): string => ids.map((id) => this.#nameOf(id)).join(', ')
      return [
        ...(members.length === truth.size ? [] : [`${name} sees ${members.length} of ${truth.size} nodes`]),
        ...(wrong.length === 0 ? [] : [`${name} is wrong about ${names(wrong.map(({ nodeId }) => nodeId))}`]),
        ...(stale.length === 0 ? [] : [`${name} does not know what is offered on ${names(stale)}`]),
        ...unready(machine),
      ]
    })
    return [...views, ...(living.length === 0 ? [] : this.#notOnce())]
  }

  #nameOf(nodeId: string): string {
    return this.#byId.get(nodeId)?.name ?? nodeId
  }

  #told({ name }: Machine, faults: readonly string[]): Breach[] {
    return faults.flatMap((what) => {
      const key = `${name} ${what}`
      if (this.#known.has(key)) return []
      this.#known.add(key)
      return [{ atMs: this.#world.clock.nowMs(), node: name, what }]
    })
  }

  /** A part of a node met what it was not made for. */
  #faults(machine: Machine): string[] {
    const seen = this.#errorsSeen.get(machine) ?? 0
    this.#errorsSeen.set(machine, machine.errors.length)
    return machine.errors
      .slice(seen)
      .filter(({ message }) => /met a fault|task failed|did not (start|stop)/.test(message))
      .map(({ message, fields }) => `${message}: ${Object.values(fields).map(String).join(' ')}`)
  }

  /** A program that is gone, and whose end the node has not taken in. */
  #unreaped({ name, node, host, nodeId }: Machine): string[] {
    const { clock, network } = this.#world
    if (network.times.isFrozen(nodeId)) return []
    const running = new Set(host.programs.map(({ pid }) => pid))
    return (node?.core.supervisor.status() ?? []).flatMap(({ unit, pid }) => {
      const key = `${name} ${pid}`
      if (pid === undefined || running.has(pid)) {
        this.#goneSinceMs.delete(key)
        return []
      }
      const sinceMs = this.#goneSinceMs.get(key) ?? clock.nowMs()
      this.#goneSinceMs.set(key, sinceMs)
      return clock.nowMs() - sinceMs > NOTICE_MS
        ? [`process ${pid} of ${unit} has ended, and its node does not know`]
        : []
    })
  }

  /** An incarnation that its owner does not have on disk: after a crash it could be used twice. */
  #fromTheFuture({ node }: Machine): string[] {
    return (node?.core.world.members() ?? []).flatMap(({ nodeId, incarnation }) => {
      const owner = this.#byId.get(nodeId)
      // What was once on disk stays: only what is higher than the highest seen there is read anew.
      if (owner === undefined || incarnation <= (this.#stored.get(owner) ?? 0)) return []
      const kept = storedIncarnation(owner)
      this.#stored.set(owner, kept)
      // A node whose disk takes nothing would rather use a number twice than be taken for dead.
      if (incarnation <= kept || owner.disk.wasFull) return []
      return [`saw incarnation ${incarnation} of ${this.#nameOf(nodeId)}, whose disk has ${kept}`]
    })
  }
}

/** Of units whose nodes do not agree on what they are, nothing is known. */
function exclusiveUnits(machines: readonly Machine[]): { unit: string; stops: boolean }[] {
  const units = new Set(machines.flatMap(({ setup }) => setup.units.map(({ name }) => name)))
  return [...units].flatMap((unit) => {
    const policies = machines
      .filter(({ setup }) => setup.mesh !== undefined && setup.units.some(({ name }) => name === unit))
      .map(({ setup }) => setup.partitionOf(unit))
    const [first] = policies
    if (first === undefined || first === 'keep' || first.replace_after === undefined) return []
    if (policies.some((policy) => JSON.stringify(policy) !== JSON.stringify(first))) return []
    return [{ unit, stops: first.stop_after !== undefined }]
  })
}

/** Two programs for one slot. */
function doubles({ host }: Machine): string[] {
  const { running } = host
  const twice = running.filter((slot, at) => running.indexOf(slot) !== at)
  return [...new Set(twice)].map((slot) => `${slot} runs twice`)
}

/** What is offered by a node that is not there. */
function ghosts({ node }: Machine): string[] {
  const mesh = node?.core.mesh.current()
  if (mesh === undefined) return []
  const members = new Map(mesh.members().map((member) => [member.nodeId, member]))
  return [...mesh.registrations().keys()].flatMap((owner) => {
    const { status, record, self } = members.get(owner) ?? {}
    if (status === 'alive' || status === 'suspect' || self === true) return []
    // Before its start the mesh shows nobody, this node neither.
    if (members.size === 0) return []
    return [`offers endpoints of ${record?.name ?? owner}, which is ${status ?? 'unknown'}`]
  })
}

function unready({ name, node, behaviours, sick }: Machine): string[] {
  return (node?.core.supervisor.status() ?? []).flatMap(({ unit, replica, state, ready, want, reason }) => {
    const isWell = behaviours.get(unit)?.endsAfterMs === undefined && !sick.has(unit)
    if (!isWell || want === 'down' || ready || state === 'completed' || reason.startsWith('held back')) return []
    return [`${unit}/${replica} on ${name} is ${state}${reason === '' ? '' : `: ${reason}`}`]
  })
}

function incarnationOf(node: Machine['node']): number | undefined {
  return node?.core.world.members().find(({ self }) => self)?.incarnation
}

function offersOf({ node }: Machine, owner: string): string {
  // In any order: an owner sends what has changed.
  const each = (node?.core.world.registrationsOf(owner) ?? []).map((registration) => JSON.stringify(registration))
  return each.sort().join('\n')
}

/** The incarnation is written to two places in turn. */
function storedIncarnation({ disk }: Machine): number {
  const read = (place: string): number => {
    const stored = disk.get(place)
    try {
      return stored === undefined
        ? 0
        : (JSON.parse(Buffer.from(stored).toString()) as { incarnation: number }).incarnation
    } catch {
      return 0
    }
  }
  return Math.max(read('mesh/self.json'), read('mesh/self-2.json'))
}
