import type { Clock } from '../../base/clock.ts'
import { HsuError, messageOf } from '../../base/error.ts'
import type { Target } from '../target.ts'
import { dialLocal } from './dial.ts'
import type { LinkPool } from './link-pool.ts'
import type { RelayLoop } from './loop.ts'
import { Pool, type Waiter } from './pool.ts'
import type { Upstream } from './upstream.ts'

/** The connections of one listener: to units and sockets on this host, and by links to other nodes. */
export interface RelayUpstreams {
  /** A connection to the target that has a place for a call; undefined when there is none now. */
  free(target: Target): Upstream | undefined
  /** Tells `waiter` once there is a place for `call`, or that there will be none. */
  wait(call: object, target: Target, waiter: Waiter): void
  /** The call waits no more. */
  forget(call: object): void
  stop(): Promise<void>
}

/** Connections to one local address. A unit that takes few streams at once gets up to this many. */
const MAX_CONNECTIONS = 4

/** `links` is undefined for a node that belongs to no mesh. */
export function createRelayUpstreams(clock: Clock, loop: RelayLoop, links: LinkPool | undefined): RelayUpstreams {
  const locals = new Map<string, Pool>()
  const waiting = new Map<object, Pool>()

  function localPool(address: string, label: string): Pool {
    const known = locals.get(address)
    if (known !== undefined) return known
    const pool: Pool = new Pool({
      label: `${label} at ${address}`,
      dial: (signal) =>
        dialLocal(clock, loop, address, signal).catch((cause: unknown) =>
          Promise.reject(unreachable(address, label, cause)),
        ),
      maxConnections: MAX_CONNECTIONS,
      onEmpty: () => {
        if (locals.get(address) === pool) locals.delete(address)
      },
    })
    locals.set(address, pool)
    return pool
  }

  function poolOf({ to, label }: Target): Pool {
    if (to.kind === 'local') return localPool(to.address, label)
    if (links !== undefined) return links.poolFor(to.link)
    throw new HsuError('NODE_UNREACHABLE', `${label} is on another node, and this node belongs to no mesh`)
  }

  return {
    free: (target) => poolOf(target).free(),

    wait(call, target, waiter) {
      const pool = poolOf(target)
      waiting.set(call, pool)
      pool.wait(call, {
        reached(upstream) {
          waiting.delete(call)
          waiter.reached(upstream)
        },
        unreachable(error) {
          waiting.delete(call)
          waiter.unreachable(error)
        },
      })
    },

    forget(call) {
      waiting.get(call)?.forget(call)
      waiting.delete(call)
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
