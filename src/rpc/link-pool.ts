import type { Clock } from '../base/clock.ts'
import { HsuError, messageOf } from '../base/error.ts'
import { createTaskGroup } from '../base/task-group.ts'
import { dialLink, type LinkDialSeams } from './dial.ts'
import type { LinkCertificate } from './link-certificate.ts'
import { watchLink } from './link-watch.ts'
import { UpstreamPool } from './upstream-pool.ts'
import type { Dialled, Slot } from './upstream-session.ts'

/** How to reach another node's link, as its signed node record has it. */
export interface LinkTarget {
  readonly nodeId: string
  /** `host:port`, the best first. */
  readonly addresses: readonly string[]
  /** SHA-256 of its certificate (DER) in lower-case hexadecimal digits; no other certificate is accepted. */
  readonly fingerprint: string
}

/** What links need of their surroundings. */
export interface LinkPoolSeams {
  readonly clock: Clock
  /** The present target of a node; undefined once it has left the mesh, which ends its link. */
  readonly linkOf: (nodeId: string) => LinkTarget | undefined
}

/** Links to other nodes: one connection each, made on the first call, checked while it is there. */
export interface LinkPool {
  /** @throws HsuError `NODE_UNREACHABLE` when no address leads to the node that `target` names */
  acquire(target: LinkTarget, signal: AbortSignal): Slot | Promise<Slot>
  stop(): Promise<void>
}

/** Connections to one node: a second is made when the first is full. */
const MAX_SESSIONS = 2

export function createLinkPool({ clock, linkOf }: LinkPoolSeams, certificate: LinkCertificate): LinkPool {
  const current = new Map<string, { readonly pool: UpstreamPool; readonly fingerprint: string }>()
  const all = new Set<UpstreamPool>()
  const watching = createTaskGroup(() => undefined)

  /** Takes no more calls for a node on the connections it has. */
  function retire(nodeId: string): void {
    const known = current.get(nodeId)
    current.delete(nodeId)
    known?.pool.retire()
  }

  async function dial({ nodeId, fingerprint, addresses }: LinkTarget, signal: AbortSignal): Promise<Dialled> {
    const latest = linkOf(nodeId)
    const known = latest?.fingerprint === fingerprint ? latest.addresses : addresses
    const dialled = await dialAny({ clock, certificate }, { nodeId, fingerprint, addresses: known }, signal)
    const check = (): void => {
      const left = linkOf(nodeId)?.fingerprint !== fingerprint
      if (left && current.get(nodeId)?.fingerprint === fingerprint) retire(nodeId)
    }
    watching.run((stopped) => watchLink(clock, dialled.session, check, stopped))
    return dialled
  }

  function poolFor(target: LinkTarget): UpstreamPool {
    const { nodeId, fingerprint } = target
    const known = current.get(nodeId)
    if (known?.fingerprint === fingerprint) return known.pool
    retire(nodeId)
    const pool: UpstreamPool = new UpstreamPool({
      label: `node ${nodeId}`,
      dial: (signal) => dial(target, signal),
      maxSessions: MAX_SESSIONS,
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
    acquire: (target, signal) => poolFor(target).acquire(signal),
    async stop() {
      for (const pool of [...all]) await pool.stop()
      await watching.stop()
    },
  }
}

/** Tries the addresses in order. @throws HsuError `NODE_UNREACHABLE` that tells what became of each */
async function dialAny(seams: LinkDialSeams, target: LinkTarget, signal: AbortSignal): Promise<Dialled> {
  const { nodeId, addresses, fingerprint } = target
  const failures: string[] = []
  for (const address of addresses) {
    signal.throwIfAborted()
    try {
      return await dialLink(seams, address, fingerprint, signal)
    } catch (error) {
      failures.push(`${address}: ${messageOf(error)}`)
    }
  }
  signal.throwIfAborted()
  const why = failures.length === 0 ? 'no address of it is known' : failures.join('; ')
  throw new HsuError('NODE_UNREACHABLE', `cannot reach node ${nodeId}: ${why}`, { details: { nodeId } })
}
