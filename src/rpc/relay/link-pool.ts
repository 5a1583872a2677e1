import type { Clock } from '../../base/clock.ts'
import { HsuError, messageOf } from '../../base/error.ts'
import { createTaskGroup } from '../../base/task-group.ts'
import { dialLink, type LinkDialSeams } from './dial.ts'
import type { ShownCertificate } from '../link-certificate.ts'
import { watchLink } from '../link-watch.ts'
import type { LinkTarget } from '../target.ts'
import type { RelayLoop } from './loop.ts'
import { Pool } from './pool.ts'
import type { Upstream } from './upstream.ts'

/** What links need of their surroundings. */
export interface LinkPoolSeams {
  readonly clock: Clock
  readonly loop: RelayLoop
  /** The present target of a node; undefined once it has left the mesh, which ends its link. */
  readonly linkOf: (nodeId: string) => LinkTarget | undefined
}

/** Links to other nodes: one connection each, made on the first call, checked while it is there. */
export interface LinkPool {
  /** The way to the node that `target` names. */
  poolFor(target: LinkTarget): Pool
  stop(): Promise<void>
}

/** Connections to one node: a second is made when the first is full. */
const MAX_CONNECTIONS = 2

export function createLinkPool({ clock, loop, linkOf }: LinkPoolSeams, certificate: ShownCertificate): LinkPool {
  const current = new Map<string, { readonly pool: Pool; readonly fingerprint: string }>()
  const all = new Set<Pool>()
  const watching = createTaskGroup(() => undefined)

  /** Takes no more calls for a node on the connections it has. */
  function retire(nodeId: string): void {
    const known = current.get(nodeId)
    current.delete(nodeId)
    known?.pool.retire()
  }

  // Who knew this node by the certificate before will do so for a while; calls under way go on.
  const unsubscribe = certificate.renewed?.subscribe(() => {
    for (const nodeId of [...current.keys()]) retire(nodeId)
  })

  async function dial(target: LinkTarget, signal: AbortSignal): Promise<Upstream> {
    const { nodeId, fingerprint } = target
    const latest = linkOf(nodeId)
    const known = latest?.fingerprint === fingerprint ? latest : target
    const upstream = await dialAny({ clock, loop, certificate }, known, signal)
    const check = (): void => {
      const left = linkOf(nodeId)?.fingerprint !== fingerprint
      if (left && current.get(nodeId)?.fingerprint === fingerprint) retire(nodeId)
    }
    watching.run((stopped) => watchLink(clock, upstream, check, stopped))
    return upstream
  }

  function poolFor(target: LinkTarget): Pool {
    const { nodeId, fingerprint } = target
    const known = current.get(nodeId)
    if (known?.fingerprint === fingerprint) return known.pool
    retire(nodeId)
    const pool: Pool = new Pool({
      label: `node ${nodeId}`,
      dial: (signal) => dial(target, signal),
      maxConnections: MAX_CONNECTIONS,
      onEmpty: () => {
        all.delete(pool)
        if (current.get(nodeId)?.pool === pool) current.delete(nodeId)
      },
    })
    current.set(nodeId, { pool, fingerprint })
    all.add(pool)
    return pool
  }

  return {
    poolFor,
    async stop() {
      unsubscribe?.()
      for (const pool of [...all]) await pool.stop()
      await watching.stop()
    },
  }
}

/** Tries the addresses in order. @throws HsuError `NODE_UNREACHABLE` that tells what became of each */
async function dialAny(seams: LinkDialSeams, target: LinkTarget, signal: AbortSignal): Promise<Upstream> {
  const { nodeId, addresses, fingerprint, further = [] } = target
  const failures: string[] = []
  for (const address of addresses) {
    signal.throwIfAborted()
    try {
      return await dialLink(seams, address, [fingerprint, ...further], signal)
    } catch (error) {
      failures.push(`${address}: ${messageOf(error)}`)
    }
  }
  signal.throwIfAborted()
  const why = failures.length === 0 ? 'no address of it is known' : failures.join('; ')
  throw new HsuError('NODE_UNREACHABLE', `cannot reach node ${nodeId}: ${why}`, { details: { nodeId } })
}
