import { access, constants } from 'node:fs/promises'
import { limitSupport, type LimitSupport, systemHost } from '../process/index.ts'
import type { Mesh } from '../mesh/index.ts'
import type { Ingress, LinkServer } from '../rpc/index.ts'
import { meshChecks } from './diagnose-mesh.ts'
import { splitHostPort } from './link-addresses.ts'
import type { AdminServer } from './admin/server.ts'
import type { DirectPart } from './direct.ts'
import type { EventLog } from './event-log.ts'
import type { Check } from './node-core.ts'
import type { NodeSetup } from './node-setup.ts'
import type { WorldView } from './world-view.ts'

export interface Diagnosed {
  readonly setup: NodeSetup
  readonly ingress: Ingress
  readonly linkServer: LinkServer | undefined
  readonly mesh: Mesh | undefined
  readonly world: WorldView
  readonly limits: () => Promise<readonly LimitSupport[]>
  readonly events: EventLog
  readonly admin: AdminServer | undefined
  readonly direct: DirectPart
}

/** Tests of a running node's own parts, for `hsu doctor`. */
export async function diagnoseNode({
  setup,
  ingress,
  linkServer,
  mesh,
  world,
  limits,
  events,
  admin,
  direct,
}: Diagnosed): Promise<readonly Check[]> {
  const { listen, paths } = setup
  return [
    await writable('data directory', paths.dataDir),
    bound('ingress', listen.ingress, ingress.address()),
    ...(linkServer === undefined ? [] : [bound('link', listen.link, linkServer.address())]),
    ...(admin === undefined ? [] : [bound('admin', listen.admin, admin.address())]),
    ...(listen.xds === 'off' ? [] : [bound('xds', listen.xds, direct.address() ?? '')]),
    ...meshChecks({
      config: setup.mesh?.config,
      joined: mesh !== undefined,
      ways: mesh?.ways() ?? [],
      members: world.members(),
    }),
    ...eventsCheck(events),
    ...(await limits()).map(limitCheck),
  ]
}

/** A kind of limit, and what this host can do about it. */
export interface LimitCheck {
  readonly name: string
  readonly result: 'ok' | 'warning'
  readonly message: string
}

/** What a node here could do about limits, told without one. */
export async function diagnoseLimits(): Promise<readonly LimitCheck[]> {
  return (await limitSupport(systemHost())).map(limitCheck)
}

/** A limit that cannot be seen to is a warning: a configuration may ask for it. */
function limitCheck({ resource, mode, by }: LimitSupport): LimitCheck {
  return { name: `limit: ${resource}`, result: mode === 'unsupported' ? 'warning' : 'ok', message: `${mode} (${by})` }
}

async function writable(name: string, path: string): Promise<Check> {
  return access(path, constants.W_OK).then(
    () => ({ name, result: 'ok', message: path }),
    (error: unknown) => ({ name, result: 'failed', message: `${path}: ${String(error)}` }),
  )
}

/** A disk that was full for too long cost some. */
function eventsCheck({ lost }: EventLog): readonly Check[] {
  if (lost === 0) return []
  const message = `${lost} could not be written to disk since the node started; make room below the data directory`
  return [{ name: 'events', result: 'warning', message }]
}

/** A door that could not have the port it was configured for got another. */
function bound(name: string, wanted: string, real: string): Check {
  const { port } = splitHostPort(wanted)
  if (port === 0 || port === splitHostPort(real).port) return { name, result: 'ok', message: `listens on ${real}` }
  const message = `listens on ${real}, because ${wanted} was busy; free that port or configure another`
  return { name, result: 'warning', message }
}
