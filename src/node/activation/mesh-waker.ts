import type { Clock } from '../../base/clock.ts'
import { HsuError } from '../../base/error.ts'
import type { Sleeper } from '../../rpc/index.ts'
import type { UnitInit } from '../to-proto.ts'
import type { WorldView } from '../world-view.ts'
import { byMerit, type Candidate, candidatesFor, deciders } from './choose.ts'
import type { Wish } from './waker.ts'

/** A unit that takes calls now. */
export interface Woken {
  readonly nodeId: string
  /** Its ready instances. */
  readonly instances: readonly UnitInit[]
}

/** What another node is asked for. */
export interface WakeRequest {
  readonly unit: string
  /** On that node, instead of on the one that it chooses. */
  readonly here: boolean
}

export interface MeshWakerSeams {
  readonly clock: Clock
  readonly nodeId: string
  readonly world: Pick<WorldView, 'members' | 'registrationsOf' | 'named'>
  /** Wakes a unit of this node. @throws HsuError as `Waker.wake` */
  readonly wakeHere: (unit: string, wish: Wish, signal: AbortSignal) => Promise<Woken>
  /** @throws HsuError what the other node says; `NODE_UNREACHABLE` and the like when it says nothing */
  readonly wakeElsewhere: (nodeId: string, request: WakeRequest, wish: Wish, signal: AbortSignal) => Promise<Woken>
}

/** Wakes units on the one node of the mesh where that is best. */
export interface MeshWaker {
  /** Asks the node that decides for all. @throws HsuError `WAKE_FAILED`, ... */
  wake(sleeper: Sleeper, wish: Wish, signal: AbortSignal): Promise<Woken>
  /** As the node that decides. @throws HsuError `WAKE_FAILED`, `UNIT_NOT_FOUND` */
  decide(unit: string, wish: Wish, signal: AbortSignal): Promise<Woken>
}

/** A choice is kept for so long, in which the news of the start reaches this node. */
const STICKY_MS = 5_000

/** Nodes that are tried in one wake. */
const MAX_TRIES = 3

/** The other node has not done it, and has not said why it cannot be done. */
const NO_ANSWER: readonly string[] = [
  'NODE_UNREACHABLE',
  'NODE_NOT_FOUND',
  'NOT_STARTED',
  'NODE_DRAINING',
  'UNSUPPORTED',
]

export function createMeshWaker(seams: MeshWakerSeams): MeshWaker {
  const { clock, nodeId: self, world, wakeHere, wakeElsewhere } = seams
  const chosen = new Map<string, { readonly nodeId: string; readonly untilMs: number }>()

  const candidates = (unit: string): readonly Candidate[] =>
    candidatesFor(unit, world.members(), (nodeId) => world.registrationsOf(nodeId))

  /** The one that was chosen a moment ago comes first, though what is known of it may be out of date. */
  function ordered(unit: string): readonly Candidate[] {
    const order = byMerit(unit, candidates(unit))
    const choice = chosen.get(unit)
    if (choice === undefined || choice.untilMs <= clock.nowMs()) return order
    const isSticky = ({ nodeId, readiness }: Candidate): boolean => nodeId === choice.nodeId && readiness !== 'off'
    return [...order.filter(isSticky), ...order.filter((each) => !isSticky(each))]
  }

  function choose(unit: string, nodeId: string): void {
    for (const [known, { untilMs }] of chosen) if (untilMs <= clock.nowMs()) chosen.delete(known)
    chosen.set(unit, { nodeId, untilMs: clock.nowMs() + STICKY_MS })
  }

  /** Tries one node after the other; the first failure that tells something is the answer. */
  async function firstOf(
    nodeIds: readonly string[],
    signal: AbortSignal,
    wakeOn: (nodeId: string) => Promise<Woken>,
    isLast: (error: HsuError) => boolean,
  ): Promise<Woken | undefined> {
    let told: HsuError | undefined
    for (const nodeId of nodeIds) {
      try {
        return await wakeOn(nodeId)
      } catch (thrown) {
        signal.throwIfAborted()
        const error = HsuError.from(thrown)
        if (isLast(error)) throw error
        told = told === undefined || NO_ANSWER.includes(told.reason) ? error : told
      }
    }
    if (told !== undefined) throw asAnswer(told)
    return undefined
  }

  return {
    async wake({ unit, node }, wish, signal) {
      const decider = async (nodeId: string, here: boolean): Promise<Woken> => {
        if (nodeId !== self) return wakeElsewhere(nodeId, { unit, here }, wish, signal)
        return here ? wakeHere(unit, wish, signal) : this.decide(unit, wish, signal)
      }
      const tellsMore = (error: HsuError): boolean => !NO_ANSWER.includes(error.reason)
      if (node !== undefined) {
        const named = world.named(node).map(({ nodeId }) => nodeId)
        return (await firstOf(named, signal, (nodeId) => decider(nodeId, true), tellsMore)) ?? unknown(unit)
      }
      const order = deciders(
        unit,
        candidates(unit).map(({ nodeId }) => nodeId),
      )
      const woken = await firstOf(order.slice(0, MAX_TRIES), signal, (nodeId) => decider(nodeId, false), tellsMore)
      return woken ?? unknown(unit)
    },

    async decide(unit, wish, signal) {
      const tries = ordered(unit).slice(0, MAX_TRIES)
      const wakeOn = (nodeId: string): Promise<Woken> => {
        choose(unit, nodeId)
        return nodeId === self
          ? wakeHere(unit, wish, signal)
          : wakeElsewhere(nodeId, { unit, here: true }, wish, signal)
      }
      const woken = await firstOf(
        tries.map(({ nodeId }) => nodeId),
        signal,
        wakeOn,
        () => false,
      )
      return woken ?? unknown(unit)
    },
  }
}

/** A caller is to come again, whatever it is that kept a node from answering. */
function asAnswer(error: HsuError): HsuError {
  if (!NO_ANSWER.includes(error.reason)) return error
  return new HsuError('WAKE_FAILED', `no node that could start the unit answers: ${error.message}`, { cause: error })
}

function unknown(unit: string): never {
  throw new HsuError('UNIT_NOT_FOUND', `no node of the mesh starts unit '${unit}' for calls`, { details: { unit } })
}
