import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { type Connection, ControlService, connect, type ServiceClient } from 'hsu'
import type { LanHost } from '../test/support/lan.ts'
import { SpawnedNode } from '../test/support/spawned-node.ts'
import type { Cluster } from './lan.ts'
import { ECHO_UNIT } from './nodes.ts'

const POLL_MS = 20
const SEEN_WITHIN_MS = 120_000
const CHANGES = 20
const SERVICE = 'echo.v1.EchoService'

interface Sighting {
  readonly status: 'alive' | 'dead'
  readonly atMs: number
}

/** A node of HSU on each host. The first runs a unit, so that the registry can change. */
export class HsuCluster implements Cluster {
  readonly name = 'HSU'
  readonly #nodes: readonly SpawnedNode[]
  readonly #connections: readonly Connection[]
  readonly #controls: readonly ServiceClient<typeof ControlService>[]
  /** By host, then by the name of whom it saw: what it said last, and when that came to be. */
  readonly #seen: readonly Map<string, Sighting>[]
  readonly #ended = new AbortController()

  constructor(lan: readonly LanHost[], home: string) {
    const keyFile = join(home, 'mesh.key')
    this.#nodes = lan.map(({ name, prefix }, index) => {
      const mesh = { name: 'bench', key_file: keyFile }
      const config = { version: 1, node: { name }, mesh, units: index === 0 ? { echo: ECHO_UNIT } : {} }
      return new SpawnedNode(join(home, name), { prefix, config })
    })
    const made = spawnSync('env', ['-u', 'NODE_OPTIONS', 'bin/hsu', 'mesh', 'create', '--out', keyFile])
    if (made.status !== 0) throw new Error(String(made.stderr))
    this.#connections = lan.map(({ name }) => connect(`unix:${join(home, name, 'run', 'control.sock')}`))
    this.#controls = this.#connections.map((connection) => connection.client(ControlService))
    this.#seen = lan.map(() => new Map())
    for (const host of lan.keys()) void this.#follow(host)
  }

  launch(hosts: readonly number[]): void {
    for (const host of hosts) {
      this.#seen[host]?.clear()
      this.#nodes[host]?.launch()
    }
  }

  async seen(by: readonly number[], of: readonly number[], status: 'alive' | 'dead', sinceMs: number): Promise<number> {
    const pairs = by.flatMap((host) => of.filter((other) => other !== host).map((other) => [host, other] as const))
    const deadlineMs = Date.now() + SEEN_WITHIN_MS
    for (;;) {
      const sightings = pairs.map(([host, other]) => this.#seen[host]?.get(`h${other}`))
      if (sightings.every((sighting) => sighting?.status === status && sighting.atMs >= sinceMs))
        return Math.max(...sightings.map((sighting) => sighting?.atMs ?? 0))
      if (Date.now() > deadlineMs) throw new Error(`bench: hosts ${by.join()} do not see ${of.join()} as ${status}`)
      await pause(POLL_MS)
    }
  }

  signal(host: number, signal: NodeJS.Signals): void {
    this.#nodes[host]?.signal(signal)
  }

  pid(host: number): number {
    return this.#nodes[host]?.pid ?? 0
  }

  /** How long, in ms, until all hosts knew that a unit of the first had come or gone, after that one knew it. */
  async changes(): Promise<number[]> {
    const [first] = this.#controls
    if (first === undefined) return []
    const ready = new Map<number, { isReady: boolean; atMs: number }>()
    const stop = new AbortController()
    for (const [host, control] of this.#controls.entries()) void this.#watch(host, control, ready, stop.signal)
    const settled = async (isReady: boolean, sinceMs: number): Promise<number> => {
      const deadlineMs = Date.now() + SEEN_WITHIN_MS
      for (;;) {
        const sights = [...ready.values()]
        const own = ready.get(0)
        if (
          own !== undefined &&
          sights.length === this.#controls.length &&
          sights.every((each) => each.isReady === isReady && each.atMs >= sinceMs)
        )
          return Math.max(...sights.map(({ atMs }) => atMs)) - own.atMs
        if (Date.now() > deadlineMs) throw new Error('bench: a change of the registry is not seen')
        await pause(POLL_MS)
      }
    }
    await settled(true, 0)
    const took: number[] = []
    for (let change = 0; change < CHANGES; change += 1) {
      const sinceMs = performance.now()
      const isReady = change % 2 === 1
      await (isReady ? first.startUnit({ unit: 'echo' }) : first.stopUnit({ unit: 'echo' }))
      took.push(await settled(isReady, sinceMs))
    }
    stop.abort()
    return took
  }

  async stop(): Promise<void> {
    this.#ended.abort()
    for (const [host, node] of this.#nodes.entries()) {
      if (!node.running) continue
      node.signal('SIGCONT')
      await this.#controls[host]?.shutdown({}).catch(() => undefined)
    }
    for (const connection of this.#connections) connection.close()
    for (const node of this.#nodes) if (node.running) await node.ended()
  }

  async #watch(
    host: number,
    control: ServiceClient<typeof ControlService>,
    ready: Map<number, { isReady: boolean; atMs: number }>,
    signal: AbortSignal,
  ): Promise<void> {
    try {
      for await (const { services } of control.watchServices({ services: [SERVICE] }, { signal })) {
        const isReady = services.some(({ endpoints }) => endpoints.some((endpoint) => endpoint.ready))
        if (ready.get(host)?.isReady !== isReady) ready.set(host, { isReady, atMs: performance.now() })
      }
    } catch (error) {
      if (!signal.aborted) throw error
    }
  }

  /** Follows the events of a host over all its restarts. */
  async #follow(host: number): Promise<void> {
    const { signal } = this.#ended
    while (!signal.aborted) {
      try {
        for await (const { event } of this.#controls[host]?.streamEvents(
          { follow: true, types: ['member.*'] },
          { signal },
        ) ?? []) {
          const status = event?.type === 'member.alive' ? 'alive' : event?.type === 'member.dead' ? 'dead' : undefined
          if (status === undefined || event?.time === undefined) continue
          const atMs = Number(event.time.seconds) * 1_000 + event.time.nanos / 1e6
          this.#seen[host]?.set(event.details['name'] ?? event.instance, { status, atMs })
        }
      } catch {
        // The node is not up yet, or not any more.
      }
      await pause(POLL_MS)
    }
  }
}
