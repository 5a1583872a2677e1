import type { Clock } from '../base/clock.ts'
import { HsuError, messageOf } from '../base/error.ts'
import { dialLocal } from './dial.ts'
import type { LinkPool } from './link-pool.ts'
import type { Target } from './target.ts'
import { UpstreamPool } from './upstream-pool.ts'
import type { Slot } from './upstream-session.ts'

/** The connections of one listener: to units and sockets on this host, and by links to other nodes. */
export interface Upstreams {
  /** A place for one call. @throws HsuError why there is none; the signal's reason */
  acquire(target: Target, signal: AbortSignal): Slot | Promise<Slot>
  stop(): Promise<void>
}

/** Connections to one local address. A unit that takes few streams at once gets up to this many. */
const MAX_SESSIONS = 4

/** `links` is undefined for a node that belongs to no mesh. */
export function createUpstreams(clock: Clock, links: LinkPool | undefined): Upstreams {
  const locals = new Map<string, UpstreamPool>()

  function localPool(address: string, label: string): UpstreamPool {
    const known = locals.get(address)
    if (known !== undefined) return known
    const pool = new UpstreamPool({
      label: `${label} at ${address}`,
      dial: (signal) =>
        dialLocal(clock, address, signal).catch((cause: unknown) => Promise.reject(unreachable(address, label, cause))),
      maxSessions: MAX_SESSIONS,
      onEmpty: () => void locals.delete(address),
    })
    locals.set(address, pool)
    return pool
  }

  return {
    acquire({ to, label }, signal) {
      if (to.kind === 'local') return localPool(to.address, label).acquire(signal)
      if (links !== undefined) return links.acquire(to.link, signal)
      throw new HsuError('NODE_UNREACHABLE', `${label} is on another node, and this node belongs to no mesh`)
    },
    async stop() {
      for (const pool of [...locals.values()]) await pool.stop()
      await links?.stop()
    },
  }
}

function unreachable(address: string, label: string, cause: unknown): HsuError {
  return new HsuError('NO_ENDPOINT', `cannot connect to ${label} at ${address}: ${messageOf(cause)}`, {
    details: { address },
    cause,
  })
}
