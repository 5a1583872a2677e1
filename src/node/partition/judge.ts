import type { PartitionPolicy } from './config.ts'
import { beforeItTells, type Memory, type Sighting } from './memory.ts'
import { type Side, sideOf } from './side.ts'
import { type Mate, type Tenure, tenureOf, type TenureVerdict } from './tenure.ts'

/** How long after its start a node does not yet know who else is there. */
const SETTLE_MS = 5_000

/** How long after a node is back what is known of it may be from before. */
const CATCH_UP_MS = 2_000

/** What is known when it is decided what may run here. */
export interface Situation {
  readonly nowMs: number
  /** When this node began. */
  readonly beganMs: number
  readonly self: { readonly nodeId: string; readonly name: string }
  readonly memory: Memory
  readonly sightings: readonly Sighting[]
}

/** One unit of this node. */
export interface Subject {
  readonly unit: string
  readonly policy: Exclude<PartitionPolicy, 'keep'>
  readonly wanted: boolean
  readonly hasProcess: boolean
  /** Undefined when only `stop_after` is asked for. */
  readonly own: Tenure | undefined
  /** A person wants it to run although this is the smaller side. */
  readonly isOverruled: boolean
}

export interface Judgement {
  readonly tenure: Tenure | undefined
  /** Why it is not to run here; undefined when it may. */
  readonly held: string | undefined
  /** As `held`, or why it may run from now on. */
  readonly reason: string
  /** For programs. */
  readonly details: Readonly<Record<string, string>>
  readonly againInMs: number | undefined
  /** This is the smaller side of a cut. */
  readonly isCut: boolean
}

/** The side of the mesh that this node is on. */
function ownSide({ self, memory }: Pick<Situation, 'self' | 'memory'>): Side {
  return sideOf([...memory.nodes.values(), { ...self, missingSinceMs: undefined, counts: true }])
}

/** Whether a unit may run here now, and what the node says of it. */
export function judge(subject: Subject, situation: Situation): Judgement {
  const { policy, isOverruled, own } = subject
  const side = ownSide(situation)
  const onSide = sideTerms(subject, side, situation.nowMs)
  const mayRun = onSide.held === undefined || isOverruled
  const details = { known: String(side.known), present: String(side.present), missing: side.missing.join(', ') }
  const tenure =
    own === undefined || policy.replace_after === undefined
      ? undefined
      : tenureOf({
          ...{ own, mayRun, self: situation.self, order: policy.order, replaceAfterMs: policy.replace_after },
          ...{ wanted: subject.wanted, hasProcess: subject.hasProcess },
          mates: matesOf(subject.unit, policy, situation),
          settlesInMs: settlesInMs(subject.unit, situation),
        })
  return {
    tenure: tenure?.own,
    held: (mayRun ? undefined : onSide.held) ?? tenure?.held,
    reason: reasonOf(mayRun ? undefined : onSide.held, tenure, side),
    details,
    againInMs: earliest(onSide.againInMs, tenure?.againInMs),
    isCut: side.smallerSinceMs !== undefined,
  }
}

function reasonOf(onSide: string | undefined, tenure: TenureVerdict | undefined, side: Side): string {
  const held = onSide ?? tenure?.held
  if (held !== undefined) return held
  if (tenure !== undefined) return tenure.why === '' ? 'this node has it' : tenure.why
  return side.smallerSinceMs === undefined ? 'the partition is over' : 'asked for on this side'
}

/**
 * On the smaller side a unit is stopped when its time is over. One that another node may have taken over by now is not even
 * begun there: this node may have been away for longer than it knows.
 */
function sideTerms(
  { policy, hasProcess }: Subject,
  { smallerSinceMs, present, known, missing }: Side,
  nowMs: number,
): { readonly held: string | undefined; readonly againInMs: number | undefined } {
  const { stop_after, replace_after } = policy
  if (stop_after === undefined || smallerSinceMs === undefined) return { held: undefined, againInMs: undefined }
  const leftMs = smallerSinceMs + stop_after - nowMs
  if (leftMs > 0 && (hasProcess || replace_after === undefined)) return { held: undefined, againInMs: leftMs }
  const held = `on the smaller side of a partition: ${present} of ${known} nodes, without ${missing.join(', ')}`
  return { held, againInMs: undefined }
}

/**
 * Until the others that were there before have been met and have said what they have, no longer than `SETTLE_MS`; and until
 * what is known of one that has the unit and has just come back is not from before.
 */
function settlesInMs(unit: string, { nowMs, beganMs, memory, sightings }: Situation): number {
  const nodes = [...memory.nodes.values()].filter(({ counts }) => counts)
  const isAllThere = nodes.every(({ missingSinceMs }) => missingSinceMs === undefined)
  const hasAllTold = sightings.every(({ presence, says }) => presence !== 'present' || says !== undefined)
  const isMet = nodes.length > 0 && isAllThere && hasAllTold
  const backMs = [...(memory.mates.get(unit)?.keys() ?? [])].map(
    (nodeId) => memory.nodes.get(nodeId)?.presentSinceMs ?? Number.NEGATIVE_INFINITY,
  )
  const untilMs = [isMet ? nowMs : beganMs + SETTLE_MS, ...backMs.map((atMs) => atMs + CATCH_UP_MS)]
  return Math.max(0, ...untilMs.map((atMs) => atMs - nowMs))
}

function matesOf(unit: string, { order }: Subject['policy'], situation: Situation): readonly Mate[] {
  const { memory, sightings, nowMs } = situation
  const told = new Set(sightings.flatMap(({ nodeId, says }) => (says === undefined ? [] : [nodeId])))
  const mates = [...(memory.mates.get(unit) ?? [])].flatMap(([nodeId, said]): Mate[] => {
    const node = memory.nodes.get(nodeId)
    if (node === undefined) return []
    const { name, missingSinceMs } = node
    const missingForMs = missingSinceMs === undefined ? undefined : nowMs - missingSinceMs
    const isMute = missingForMs === undefined && !told.has(nodeId)
    const stand = isMute ? beforeItTells(said.stand) : said.stand
    return [{ ...said, nodeId, name, stand, missingForMs }]
  })
  return [...mates, ...unmetOf(order, situation)]
}

/** Nodes that come first and were never met: each may have it, and is waited for as one that is missing. */
function unmetOf(order: readonly string[], { self, memory, nowMs, beganMs }: Situation): readonly Mate[] {
  const met = new Set([...memory.nodes.values()].map(({ name }) => name))
  const before = order.slice(0, order.includes(self.name) ? order.indexOf(self.name) : order.length)
  const unmet = before.filter((name) => !met.has(name))
  const missingForMs = nowMs - beganMs
  return unmet.map((name) => ({ nodeId: '', name, stand: 'holds', term: 0, hasProcess: false, missingForMs }))
}

function earliest(...times: readonly (number | undefined)[]): number | undefined {
  const known = times.filter((time) => time !== undefined)
  return known.length === 0 ? undefined : Math.min(...known)
}
