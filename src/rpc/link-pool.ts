import type { ClientHttp2Session } from 'node:http2'
import type { Clock } from '../base/clock.ts'
import { HsuError, messageOf } from '../base/error.ts'
import { createTaskGroup } from '../base/task-group.ts'
import type { LinkCertificate } from './link-certificate.ts'
import { dialLink } from './dial.ts'
import { UpstreamPool } from './upstream-pool.ts'
import type { Slot } from './upstream-session.ts'

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

/** A host that loses power says nothing: after at most 3 s + 2 s its calls fail instead of hanging. */
const PING_INTERVAL_MS = 3_000

/** In several rounds: when it is this process that was held up, at most one of them is lost. */
const PING_ROUND_MS = 500
const PING_ROUNDS = 4

/** Connections to one node: a second is made when the first is full. */
const MAX_SESSIONS = 2

interface Entry {
  readonly pool: UpstreamPool
  readonly fingerprint: string
}

export function createLinkPool({ clock, linkOf }: LinkPoolSeams, certificate: LinkCertificate): LinkPool {
  const current = new Map<string, Entry>()
  const all = new Set<UpstreamPool>()
  const watching = createTaskGroup(() => undefined)

  function poolFor({ nodeId, fingerprint, addresses }: LinkTarget): UpstreamPool {
    const known = current.get(nodeId)
    if (known?.fingerprint === fingerprint) return known.pool
    retire(nodeId)
    const pool: UpstreamPool = new UpstreamPool({
      label: `node ${nodeId}`,
      dial: async (signal) => {
        const latest = linkOf(nodeId)
        const target = latest?.fingerprint === fingerprint ? latest : { nodeId, fingerprint, addresses }
        const session = await dialAny(target, signal)
        watching.run((stopped) => watch(target, session, stopped))
        return session
      },
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

  function retire(nodeId: string): void {
    const known = current.get(nodeId)
    current.delete(nodeId)
    known?.pool.retire()
  }

  async function dialAny(
    { nodeId, addresses, fingerprint }: LinkTarget,
    signal: AbortSignal,
  ): Promise<ClientHttp2Session> {
    const failures: string[] = []
    for (const address of addresses) {
      signal.throwIfAborted()
      try {
        return await dialLink({ clock, certificate }, address, fingerprint, signal)
      } catch (error) {
        failures.push(`${address}: ${messageOf(error)}`)
      }
    }
    signal.throwIfAborted()
    const why = failures.length === 0 ? 'no address of it is known' : failures.join('; ')
    throw new HsuError('NODE_UNREACHABLE', `cannot reach node ${nodeId}: ${why}`, { details: { nodeId } })
  }

  /** Pings the other side, and ends the link when it is silent or when its node has left the mesh. */
  async function watch(
    { nodeId, fingerprint }: LinkTarget,
    session: ClientHttp2Session,
    stopped: AbortSignal,
  ): Promise<void> {
    const over = new AbortController()
    const end = (): void => over.abort()
    session.once('close', end)
    stopped.addEventListener('abort', end)
    while (await slept(PING_INTERVAL_MS, over.signal)) {
      if (linkOf(nodeId)?.fingerprint !== fingerprint && current.get(nodeId)?.fingerprint === fingerprint)
        retire(nodeId)
      if (!(await answersPing(session, over.signal))) session.destroy()
    }
    stopped.removeEventListener('abort', end)
  }

  async function answersPing(session: ClientHttp2Session, over: AbortSignal): Promise<boolean> {
    // A connection that is being closed takes no pings, but the other side was there to say so.
    if (session.closed || session.destroyed) return true
    let answered = false
    session.ping(() => {
      answered = true
    })
    for (let round = 0; round < PING_ROUNDS && !answered; round += 1) {
      if (!(await slept(PING_ROUND_MS, over))) return true
    }
    return answered
  }

  function slept(ms: number, signal: AbortSignal): Promise<boolean> {
    return clock.sleep(ms, signal).then(
      () => !signal.aborted,
      () => false,
    )
  }

  return {
    acquire: (target, signal) => poolFor(target).acquire(signal),
    async stop() {
      for (const pool of [...all]) await pool.stop()
      await watching.stop()
    },
  }
}
