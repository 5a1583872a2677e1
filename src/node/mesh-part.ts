import { type BackoffPolicy, backoffMs } from '../base/backoff.ts'
import type { Clock } from '../base/clock.ts'
import { messageOf } from '../base/error.ts'
import type { Service } from '../base/lifecycle.ts'
import type { Log } from '../base/log.ts'
import type { Random } from '../base/random.ts'
import { createTopic, type Topic } from '../base/topic.ts'
import type { Mesh } from '../mesh/index.ts'

/** The mesh as a part of the node: joined in the background, so that a slow or broken network delays nothing local. */
export interface MeshPart extends Service {
  /** Undefined until there is one, between two tries, and for a node without a mesh. */
  current(): Mesh | undefined
  /** Told before each try, with the mesh that is about to start. */
  readonly opened: Topic<Mesh>
  /** Resolves when the mesh runs, or the node stops before it did; at once without a mesh. */
  joined(): Promise<void>
  /**
   * Ends without taking leave: this node is about to go on in another process. What is known stays readable; `start`
   * takes part again.
   */
  suspend(awayMs?: number): Promise<void>
}

export interface MeshPartSeams {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** Loads and builds the mesh, the expensive part; undefined = this host is alone. */
  readonly open: (() => Promise<Mesh>) | undefined
}

/** Waits between two tries to join. */
const RETRY: BackoffPolicy = { minMs: 1_000, maxMs: 30_000, factor: 2, jitter: 0.2 }

export function createMeshPart({ clock, random, log, open }: MeshPartSeams): MeshPart {
  const opened = createTopic<Mesh>()
  let mesh: Mesh | undefined
  let leaving = new AbortController()
  let joining: Promise<void> = Promise.resolve()

  /** Tries until it works: at power-up the network may come later than the node. */
  async function join(openMesh: () => Promise<Mesh>, signal: AbortSignal): Promise<void> {
    for (let attempt = 1; !signal.aborted; attempt += 1) {
      try {
        mesh = await openMesh()
        opened.publish(mesh)
        await mesh.start()
        return
      } catch (error) {
        await mesh?.stop().catch(() => undefined)
        mesh = undefined
        const waitMs = backoffMs(attempt, RETRY, random)
        log.error('cannot take part in the mesh, which is tried again; until then this host works alone', {
          attempt,
          waitMs,
          cause: messageOf(error),
        })
        await clock.sleep(waitMs, signal).catch(() => undefined)
      }
    }
  }

  return {
    name: 'mesh',
    current: () => mesh,
    opened,
    joined: () => joining,
    async start() {
      leaving = new AbortController()
      if (open !== undefined) joining = join(open, leaving.signal)
    },
    async stop() {
      leaving.abort()
      await joining
      await mesh?.stop()
    },
    async suspend(awayMs) {
      leaving.abort()
      await joining
      await mesh?.suspend(awayMs)
    },
  }
}
