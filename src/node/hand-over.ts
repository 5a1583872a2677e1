import type { Clock } from '../base/clock.ts'
import { loadLibp2p } from '../mesh/index.ts'
import type { InstanceStatus } from '../process/index.ts'
import type { AdminServer } from './admin/server.ts'
import { type StandingNow, untilAsBefore, untilMet } from './as-before.ts'
import type { Attachments } from './attachments.ts'
import type { Ground, Legacy, Parts, Tools } from './parts.ts'
import type { NodeSetup } from './node-setup.ts'
import type { Outside } from './outside.ts'
import type { Inheritance, MeshPlace, Predecessor, Replaced } from './succession.ts'

/** How long others may wait for the new process without taking this node for dead. */
const AWAY_MS = 10_000

/** Says that all is prepared, and waits for the units; an old process that ended without a word leaves them, too. */
export async function takeUnits(predecessor: Predecessor, { version, mesh }: NodeSetup): Promise<Legacy> {
  if (mesh !== undefined) await loadLibp2p()
  const { handles, gone } = predecessor
  predecessor.tell({ kind: 'prepared', version })
  const answer = await predecessor.given()
  const inheritance = answer?.kind === 'units' ? answer.inheritance : { ready: [], offering: [] }
  return { handles, gone, inheritance, place: undefined }
}

/** Takes the place in the mesh once the units are as they were; calls then find what they found before. */
export async function takePlace(
  predecessor: Predecessor,
  legacy: Legacy,
  { clock }: Outside,
  { supervisor, offers, world, mesh }: Parts,
): Promise<void> {
  const { inheritance, gone } = legacy
  await untilAsBefore(inheritance, standingNow(clock, { supervisor, offers }), gone)
  predecessor.tell({ kind: 'ready' })
  const answer = await predecessor.given()
  legacy.place = answer?.kind === 'mesh' ? answer.place : undefined
  await mesh.start()
  await untilMet(legacy.place?.members ?? [], () => aliveOthers(world), clock, gone)
  world.refresh()
}

export function standingNow(clock: Clock, { supervisor, offers }: Pick<Parts, 'supervisor' | 'offers'>): StandingNow {
  return { clock, status: () => supervisor.status(), servicesOf: (status) => offers.servicesOf(status) }
}

function aliveOthers(world: Parts['world']): readonly string[] {
  return world
    .members()
    .filter(({ self, status }) => !self && status === 'alive')
    .map(({ nodeId }) => nodeId)
}

export interface HandOverNeeds {
  readonly tools: Tools
  readonly parts: Parts
  readonly admin: AdminServer | undefined
  readonly attachments: Attachments
}

/** What only one process may have of a node, and how it changes hands. */
export function replaced(
  { clock }: Outside,
  setup: NodeSetup,
  { lock }: Ground,
  { tools, parts, admin, attachments }: HandOverNeeds,
): Replaced {
  const { supervisor, mesh, offers, world, ingress, linkServer, direct, unitDoors } = parts
  let inheritance: Inheritance = { ready: [], offering: [] }
  let thaw = (): void => undefined
  let hasLeft = false
  return {
    clock,
    dataDir: setup.paths.dataDir,
    handles: () => ({
      ingress: ingress.handle(),
      link: linkServer?.handle(),
      admin: admin?.handle(),
      xds: direct.handle(),
      tcp: unitDoors.handles(),
    }),

    async letGo(pid) {
      inheritance = standing(parts)
      thaw = offers.freeze()
      tools.news.tell('node.replacing', { details: { pid: String(pid) } })
      await supervisor.abandon()
      await tools.events.handOver()
      await lock.passTo(pid)
      return inheritance
    },

    async leaveMesh() {
      const place = { members: aliveOthers(world), listened: listened(setup, world) }
      hasLeft = true
      await mesh.suspend(AWAY_MS)
      return place
    },

    async takeBack() {
      await lock.start()
      await tools.events.takeBack()
      supervisor.renew()
      if (hasLeft) await mesh.start()
      hasLeft = false
      await supervisor.start()
      await supervisor.apply(setup.units)
      await attachments.restore()
      // Calls go where they went until the units have shown again that they are ready.
      void untilAsBefore(inheritance, standingNow(clock, parts), new AbortController().signal)
        .catch(() => undefined)
        .finally(thaw)
    },
  }
}

function standing({ supervisor, offers }: Parts): Inheritance {
  const ready = supervisor.status().filter((status) => status.ready && status.pid !== undefined)
  const offering = ready.filter((status) => offers.servicesOf(status).length > 0)
  return { ready: instancesOf(ready), offering: instancesOf(offering) }
}

function instancesOf(statuses: readonly InstanceStatus[]): readonly string[] {
  return statuses.map(({ instance }) => instance)
}

/** Instances that ran before this node did, as they most likely stood then: ready, and known by their services. */
export function adopted({ supervisor }: Pick<Parts, 'supervisor'>, nodeStartedAtMs: number): Inheritance {
  const running = supervisor
    .status()
    .filter(({ kind, pid, startedAtMs }) => kind !== 'unmanaged' && pid !== undefined && startedAtMs !== undefined)
    .filter(({ startedAtMs = 0 }) => startedAtMs < nodeStartedAtMs)
  return { ready: names(running), offering: names(running.filter(({ kind }) => kind === 'integrated')) }
}

function names(statuses: readonly InstanceStatus[]): string[] {
  return statuses.map(({ instance }) => instance)
}

function listened({ listen }: NodeSetup, world: Parts['world']): MeshPlace['listened'] {
  const addresses = world.members().find(({ self }) => self)?.record?.meshAddresses ?? []
  const port = /\/tcp\/(\d+)/.exec(addresses[0] ?? '')?.[1]
  return port === undefined ? undefined : { configured: listen.mesh, port: Number(port) }
}
