import type { Random } from '../../src/base/random.ts'
import { lan, type MeshTiming } from '../../src/mesh/config.ts'
import { type Identity, identityFrom } from '../../src/mesh/identity.ts'
import { KeyRing } from '../../src/mesh/keys/key-ring.ts'
import type { MeshEvent, Registration } from '../../src/mesh/member.ts'
import type { MemberStatus } from '../../src/mesh/merge.ts'
import type { Mesh } from '../../src/mesh/api.ts'
import { createMesh } from '../../src/mesh/mesh.ts'
import { memoryLog, type MemoryLog } from './memory-log.ts'
import { seeded } from '../../src/sim/seeded.ts'
import { SimClock } from '../../src/sim/sim-clock.ts'
import { SimNetwork } from '../../src/sim/sim-network.ts'
import type { SimTransport } from '../../src/sim/sim-transport.ts'
import { simStore } from '../../src/sim/sim-store.ts'

/** One node of a simulated mesh: what survives a crash, and what runs now. */
export interface SimNode {
  readonly name: string
  readonly nodeId: string
  readonly identity: Identity
  readonly disk: Map<string, Uint8Array>
  /** What happened, over all its runs. */
  readonly events: (MeshEvent & { readonly atMs: number })[]
  readonly log: MemoryLog
  /** Undefined while the node is down. */
  mesh: Mesh | undefined
  /** What its key file holds, newest first. */
  keyFile: readonly Uint8Array[]
  /** Of its link certificates: the one it shows, then others that count. */
  linkFingerprints: readonly string[]
  transport: SimTransport | undefined
}

export interface SimMeshOptions {
  readonly seed: number
  readonly nodes?: number
  readonly timing?: Partial<MeshTiming>
  /** Nodes find each other by themselves. Default true. */
  readonly discovery?: boolean
  /** How long connections outlive a partition. Default 10 s. */
  readonly brokenAfterMs?: number
}

/** What the key file of every node holds at first. */
export const FIRST_KEY = new Uint8Array(32).fill(1)

/** Simulated time that passes between two looks at a condition. */
const STEP_MS = 10

/** Whole meshes on a simulated clock and network: the same seed gives the same run. */
export class SimMesh {
  readonly clock = new SimClock()
  readonly network: SimNetwork
  readonly nodes: SimNode[]
  readonly #random: Random
  readonly #timing: MeshTiming

  constructor({ seed, nodes = 5, timing = {}, discovery = true, brokenAfterMs = 10_000 }: SimMeshOptions) {
    this.#random = seeded(seed)
    this.#timing = { ...lan, ...timing }
    this.network = new SimNetwork({ clock: this.clock, random: seeded(seed + 1_000), discovery, brokenAfterMs })
    this.nodes = Array.from({ length: nodes }, (_, index) => newNode(index + 1))
  }

  /** A mesh whose nodes all see each other. */
  static async formed(options: SimMeshOptions): Promise<SimMesh> {
    const sim = new SimMesh(options)
    for (const { name } of sim.nodes) await sim.start(name)
    await sim.until('all see each other', () => sim.isConverged(), 5_000)
    return sim
  }

  node(name: string): SimNode {
    const node = this.nodes.find((other) => other.name === name)
    if (node === undefined) throw new Error(`no node ${name}`)
    return node
  }

  idOf(names: readonly string[]): string[] {
    return names.map((name) => this.node(name).nodeId)
  }

  /** The nodes that run now. */
  running(): SimNode[] {
    return this.nodes.filter(({ mesh }) => mesh !== undefined)
  }

  /** Starts a node; with what its disk holds, if it ran before. It registers one unit named after it. */
  async start(name: string): Promise<Mesh> {
    return this.#run(this.node(name), this.network.transport(this.node(name).nodeId))
  }

  /** Starts a second node with the identity of another, on a disk of its own: somebody copied the data directory. */
  async startTwin(of: string, name: string): Promise<Mesh> {
    const { identity, nodeId } = this.node(of)
    const twin: SimNode = { ...newNode(0), name, identity, nodeId }
    this.nodes.push(twin)
    return this.#run(twin, this.network.transport(nodeId, true))
  }

  async #run(node: SimNode, transport: SimTransport): Promise<Mesh> {
    const { name } = node
    const store = simStore(node.disk)
    const clock = this.network.clockOf(node.nodeId)
    const writeFile = async (keys: readonly Uint8Array[]): Promise<void> => {
      node.keyFile = keys
    }
    const keys = await KeyRing.load({ clock, log: node.log, store, writeFile }, node.keyFile)
    transport.keys = keys.inForce
    const mesh = createMesh(
      {
        clock,
        random: seeded(Math.floor(this.#random.next() * 2 ** 32)),
        log: node.log,
        store,
        identity: node.identity,
        transport,
        keys,
        loop: this.network.loopOf(node.nodeId),
      },
      {
        ...this.#timing,
        name,
        version: '0.0.0',
        labels: { zone: name },
        linkAddresses: () => [`10.0.0.${name.slice(1)}:9472`],
        linkFingerprints: () => node.linkFingerprints,
      },
    )
    mesh.events.subscribe((event) => node.events.push({ ...event, atMs: this.clock.nowMs() }))
    node.mesh = mesh
    node.transport = transport
    mesh.publish([registration(`unit-of-${name}`)])
    await mesh.start()
    return mesh
  }

  /** SIGKILL: the node is gone without a word; its disk stays. */
  async crash(name: string): Promise<void> {
    const node = this.node(name)
    this.network.crash(node.nodeId)
    const mesh = node.mesh
    node.mesh = undefined
    await this.run(mesh?.stop() ?? Promise.resolve())
  }

  /** Stops a node politely. */
  async stop(name: string): Promise<void> {
    const node = this.node(name)
    const mesh = node.mesh
    node.mesh = undefined
    await this.run(mesh?.stop() ?? Promise.resolve())
  }

  async stopAll(): Promise<void> {
    for (const { name } of this.running()) await this.stop(name)
  }

  /** What `observer` believes of `subject`; undefined when it does not know it. */
  statusOf(observer: string, subject: string): MemberStatus | 'removed' | undefined {
    const { nodeId } = this.node(subject)
    return this.node(observer)
      .mesh?.members()
      .find((member) => member.nodeId === nodeId)?.status
  }

  /** The units of `subject` as `observer` sees them; undefined when it sees none of its registrations. */
  unitsOf(observer: string, subject: string): string[] | undefined {
    const { nodeId } = this.node(subject)
    return this.node(observer)
      .mesh?.registrations()
      .get(nodeId)
      ?.map(({ unit }) => unit)
  }

  /** All running nodes hold the same, true view: the running alive, nobody else present, and every registration. */
  isConverged(): boolean {
    const running = this.running()
    const truth = new Map(running.map(({ nodeId, mesh }) => [nodeId, mesh?.members()[0]?.incarnation]))
    const sections = new Map(
      running.map(({ nodeId, mesh }) => [nodeId, JSON.stringify(mesh?.registrations().get(nodeId))]),
    )
    return running.every(({ mesh }) => {
      const present = (mesh?.members() ?? []).filter(({ status }) => status === 'alive' || status === 'suspect')
      const held = mesh?.registrations() ?? new Map<string, unknown>()
      return (
        present.length === truth.size &&
        held.size === sections.size &&
        present.every(({ nodeId, status, incarnation }) => status === 'alive' && truth.get(nodeId) === incarnation) &&
        [...held].every(([owner, registrations]) => sections.get(owner) === JSON.stringify(registrations))
      )
    })
  }

  /** Lets time pass until `holds`; returns how many milliseconds it took. */
  async until(what: string, holds: () => boolean, withinMs: number): Promise<number> {
    const startedAtMs = this.clock.nowMs()
    while (!holds()) {
      if (this.clock.nowMs() - startedAtMs >= withinMs)
        throw new Error(`not within ${withinMs} ms: ${what}\n${this.show()}`)
      await this.clock.advance(STEP_MS)
      this.check()
    }
    return this.clock.nowMs() - startedAtMs
  }

  /** Lets `ms` pass, looking at the invariants all the while. */
  async pass(ms: number): Promise<void> {
    for (let leftMs = ms; leftMs > 0; leftMs -= STEP_MS) {
      await this.clock.advance(Math.min(STEP_MS, leftMs))
      this.check()
    }
  }

  /** What must hold at every moment. @throws Error that says what does not, and how every node sees it */
  check(): void {
    for (const { name, mesh } of this.running()) {
      const members = new Map(mesh?.members().map((member) => [member.nodeId, member]))
      for (const owner of mesh?.registrations().keys() ?? []) {
        const status = members.get(owner)?.status
        if (status !== 'alive' && status !== 'suspect')
          throw new Error(`${name} serves endpoints of a ${status} member\n${this.show()}`)
      }
      for (const { nodeId, incarnation, record } of members.values()) {
        const stored = Math.max(...this.nodes.filter((node) => node.nodeId === nodeId).map(storedIncarnation))
        if (incarnation > stored)
          throw new Error(`${name} saw ${record?.name}@${incarnation}, but its disk has ${stored}\n${this.show()}`)
      }
    }
  }

  /** Lets time pass until `task` is done. */
  async run<T>(task: Promise<T>): Promise<T> {
    let ended = false
    const end = (): void => {
      ended = true
    }
    task.then(end, end)
    await this.until('a task ends', () => ended, 60_000)
    return task
  }

  /** What each running node believes, a line each. */
  show(): string {
    const lines = this.running().map(({ name, mesh }) => {
      const seen = mesh?.members().map(({ record, status, incarnation }) => `${record?.name}=${status}@${incarnation}`)
      return `${name}: ${seen?.join(' ')} sections=${mesh?.registrations().size}`
    })
    return [`at ${this.clock.nowMs()} ms`, ...lines].join('\n')
  }
}

/** A registration with nothing special about it. */
export function registration(unit: string, changes: Partial<Registration> = {}): Registration {
  return {
    unit,
    instance: `${unit}-0-abc123`,
    replica: 0,
    kind: 'integrated',
    state: 'up',
    ready: true,
    services: ['echo.v1.Echo'],
    address: '127.0.0.1:5000',
    ports: { grpc: 5000 },
    ...changes,
  }
}

function storedIncarnation(node: SimNode): number {
  return Math.max(
    ...['mesh/self.json', 'mesh/self-2.json'].map((place) => {
      const stored = node.disk.get(place)
      return stored === undefined
        ? 0
        : (JSON.parse(Buffer.from(stored).toString()) as { incarnation: number }).incarnation
    }),
  )
}

function newNode(number: number): SimNode {
  const identity = identityFrom(Uint8Array.from({ length: 32 }, (_, index) => (index === 0 ? number : 7)))
  const node = {
    identity,
    nodeId: identity.nodeId,
    disk: new Map(),
    events: [],
    log: memoryLog(),
    keyFile: [FIRST_KEY],
    linkFingerprints: ['ab'.repeat(32)],
  }
  return { name: `n${number}`, ...node, mesh: undefined, transport: undefined }
}
