import type { Clock } from '../base/clock.ts'
import { HsuError } from '../base/error.ts'
import type { Log } from '../base/log.ts'
import { createCallListener } from './call-listener.ts'
import type { Door } from './door.ts'
import type { ShownCertificate } from './link-certificate.ts'
import { Delivery } from './relay/delivery.ts'
import { createLinkPool } from './relay/link-pool.ts'
import { RelayLoop } from './relay/loop.ts'
import { createRelayUpstreams } from './relay/upstreams.ts'
import { createInFlight } from './router/in-flight.ts'
import { type LinkTarget, onePlace, type Target } from './target.ts'
import { makeField } from './h2/field.ts'

/** What a control front needs of its surroundings. */
export interface ControlFrontSeams {
  readonly clock: Clock
  readonly log: Log
  readonly linkOf: (nodeId: string) => LinkTarget | undefined
  /** The members that have this name or id. */
  readonly named: (nameOrId: string) => readonly { readonly nodeId: string }[]
}

/** Where a control front listens, and what is behind it. */
export interface ControlFrontConfig {
  /** Made with mode 0600. */
  readonly socketPath: string
  /** Unix socket of this node's own API. */
  readonly apiSocketPath: string
  readonly nodeId: string
  readonly nodeName: string
  /** Undefined: this host alone, there are no links. */
  readonly certificate: ShownCertificate | undefined
  /** How long calls may go on at `stop()`; 1 s unless told. */
  readonly graceMs?: number
  /** Replaces the socket of the process before this one, once `open` is called. */
  readonly takeover?: boolean
}

/** Streams such as logs and events end only when somebody ends them. */
const GRACE_MS = 1_000

/** People ask little at a time. */
const SLABS = 64

/**
 * The control socket of a node. A call with the metadata `hsu-node: NAME` or an id goes over the link to that node's
 * control API, every other one to the API of this node. Nothing of the calls is looked into.
 */
export function createControlFront(seams: ControlFrontSeams, config: ControlFrontConfig): Door {
  const { clock, log, linkOf } = seams
  const { socketPath, certificate, graceMs = GRACE_MS, takeover = false } = config
  const loop = new RelayLoop({ clock }, SLABS)
  const links = certificate === undefined ? undefined : createLinkPool({ clock, loop, linkOf }, certificate)
  const upstreams = createRelayUpstreams(clock, loop, links)
  const router = onePlace(({ head }) => target(head.text('hsu-node'), seams, config))
  const delivery = new Delivery({ clock, loop, router, upstreams, inFlight: createInFlight(), whenUnreached: 'answer' })
  const listener = createCallListener(
    { clock, log, delivery },
    { name: 'control', listen: `unix:${socketPath}`, ...(takeover && { takeover: { handle: undefined } }) },
  )

  return {
    name: 'control front',
    start: () => listener.start(),
    open: () => listener.open(),
    retire: (ms) => listener.stop(ms),
    async stop() {
      await listener.stop(graceMs)
      await upstreams.stop()
    },
  }
}

/** @throws HsuError `NODE_NOT_FOUND`, `NODE_UNREACHABLE`, or `USAGE` when a name stands for several nodes */
function target(node: string | undefined, { named, linkOf }: ControlFrontSeams, config: ControlFrontConfig): Target {
  const shared = { instance: undefined, timeoutMs: undefined }
  if (node === undefined || node === '' || node === config.nodeId || node === config.nodeName) {
    return {
      ...shared,
      to: { kind: 'local', address: `unix:${config.apiSocketPath}` },
      label: "this node's API",
      add: [],
    }
  }
  const [found, ...others] = named(node)
  const details = { node }
  if (found === undefined)
    throw new HsuError('NODE_NOT_FOUND', `no node '${node}' in the mesh; see 'hsu nodes'`, { details })
  if (others.length > 0) {
    throw new HsuError('USAGE', `${others.length + 1} nodes are named '${node}'; use an id, see 'hsu nodes'`, {
      details,
    })
  }
  const link = linkOf(found.nodeId)
  if (link === undefined)
    throw new HsuError('NODE_UNREACHABLE', `the way to node '${node}' is not known (yet)`, { details })
  return { ...shared, to: { kind: 'link', link }, label: `node '${node}'`, add: [makeField('hsu-control', '1', true)] }
}
