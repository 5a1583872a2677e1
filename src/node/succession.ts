import { type Clock, TIMED_OUT, within } from '../base/clock.ts'
import { HsuError, isReason, type Reason } from '../base/error.ts'
import type { DoorHandle } from '../rpc/index.ts'

/** The listening sockets of a node that can go to another process. */
export interface DoorHandles {
  readonly ingress: DoorHandle | undefined
  readonly link: DoorHandle | undefined
  readonly admin: DoorHandle | undefined
  readonly xds: DoorHandle | undefined
  /** Those of units. */
  readonly tcp: readonly DoorHandle[]
}

/** How the units stood when the old process let go of them. */
export interface Inheritance {
  /** Instances that were ready. */
  readonly ready: readonly string[]
  /** Those of them whose services were known. */
  readonly offering: readonly string[]
}

/** The place in the mesh that the old process gave up, last of all: others miss the node for as short as can be. */
export interface MeshPlace {
  /** Ids of the other members that were alive. */
  readonly members: readonly string[]
  /** Where the mesh listened, and as what that was configured; undefined without a mesh. */
  readonly listened: { readonly configured: string; readonly port: number } | undefined
}

/**
 * What the new process tells the old one: that it is prepared and wants the units; that those are as they were and it
 * wants the place in the mesh; that it serves. Or why it cannot.
 */
export type FromSuccessor =
  | { readonly kind: 'prepared'; readonly version: string }
  | { readonly kind: 'ready' }
  | { readonly kind: 'serving' }
  | { readonly kind: 'failed'; readonly reason: string; readonly message: string }

/** What the old process answers to the first two. */
export type FromPredecessor =
  | { readonly kind: 'units'; readonly inheritance: Inheritance }
  | { readonly kind: 'mesh'; readonly place: MeshPlace }

/** The new process as the old one sees it. */
export interface Successor {
  readonly pid: number
  /** Its next message; undefined once it has ended without another. */
  next(): Promise<FromSuccessor | undefined>
  give(message: FromPredecessor): void
  /** Ends it by force; resolves when it is gone. */
  kill(): Promise<void>
  /** Lets go of it: this process may end and it goes on. */
  release(): void
}

/** Starts the program that is on disk now, with the arguments of this process. @throws HsuError */
export type SpawnSuccessor = (handles: DoorHandles, dataDir: string) => Promise<Successor>

/** The old process as the new one sees it. */
export interface Predecessor {
  readonly handles: DoorHandles
  readonly dataDir: string
  tell(message: FromSuccessor): void
  /** Aborts when the old process is gone: from then on nobody serves but this one. */
  readonly gone: AbortSignal
  /** Says that this process serves, also to whoever started the old one. */
  serves(): Promise<void>
  /** The next answer; undefined when the old process has ended without one. */
  given(): Promise<FromPredecessor | undefined>
}

/** How long a new process may take to read its configuration and load its code, and then to take over. */
const STEP_TIMEOUT_MS = 60_000

/** What an old process has to do with itself while another one takes its place. */
export interface Replaced {
  readonly clock: Clock
  readonly dataDir: string
  readonly handles: () => DoorHandles
  /** Gives up the units and the data directory in favour of `pid`. */
  letGo(pid: number): Promise<Inheritance>
  /** Gives up the place in the mesh. */
  leaveMesh(): Promise<MeshPlace>
  /** Takes back all that was given up. */
  takeBack(): Promise<void>
}

export interface Swapped {
  readonly pid: number
  readonly version: string
}

/**
 * Puts a new process in the place of this one. Whatever goes wrong before it serves, and however, ends with this one in
 * its place again, as if nothing had been.
 *
 * @throws HsuError what the new process refused to start for; `UPGRADE_FAILED`
 */
export async function swap(spawn: SpawnSuccessor, node: Replaced): Promise<Swapped> {
  const successor = await spawn(node.handles(), node.dataDir)
  let version: string
  try {
    version = (await heard(successor, 'prepared', node.clock)).version
  } catch (error) {
    await successor.kill()
    throw error
  }
  try {
    successor.give({ kind: 'units', inheritance: await node.letGo(successor.pid) })
    await heard(successor, 'ready', node.clock)
    successor.give({ kind: 'mesh', place: await node.leaveMesh() })
    await heard(successor, 'serving', node.clock)
  } catch (error) {
    // Only when it is gone for certain may its units be ours again.
    await successor.kill()
    await node.takeBack()
    throw error
  }
  successor.release()
  return { pid: successor.pid, version }
}

type Message<Kind> = Extract<FromSuccessor, { kind: Kind }>

async function heard<Kind extends FromSuccessor['kind']>(
  successor: Successor,
  kind: Kind,
  clock: Clock,
): Promise<Message<Kind>> {
  const message = await within(clock, STEP_TIMEOUT_MS, successor.next())
  if (message === TIMED_OUT) throw failed(`the new process did not come so far within ${STEP_TIMEOUT_MS / 1_000} s`)
  if (message === undefined) throw failed('the new process ended')
  if (message.kind === 'failed') throw failed(message.message, isReason(message.reason) ? message.reason : undefined)
  if (message.kind !== kind) throw failed(`the new process said '${message.kind}' before '${kind}'`)
  return message as Message<Kind>
}

function failed(why: string, reason: Reason = 'UPGRADE_FAILED'): HsuError {
  return new HsuError(reason, `not upgraded, the old process goes on: ${why}`)
}
