import type { KnownNode } from './side.ts'
import type { Stand, Tenure } from './tenure.ts'

/** How long a node that does not come back still counts, unless it is removed from the mesh. */
const FORGET_MS = 30 * 86_400_000

/** What a node last said of a unit. */
export interface Said extends Tenure {
  readonly hasProcess: boolean
}

/** A member as the mesh sees it now. */
export interface Sighting {
  readonly nodeId: string
  readonly name: string
  /** `gone`: it left politely, or was removed. */
  readonly presence: 'present' | 'missing' | 'gone'
  /** By unit; undefined while it is not known what the node has. */
  readonly says: ReadonlyMap<string, Said> | undefined
}

/** What is known of the other nodes, also while they cannot be reached. */
export interface Memory {
  readonly nodes: ReadonlyMap<string, KnownNode>
  /** By unit, then by node id. */
  readonly mates: ReadonlyMap<string, ReadonlyMap<string, Said>>
}

export const EMPTY_MEMORY: Memory = { nodes: new Map(), mates: new Map() }

/** What is known after a look at the mesh. Who is not seen is missing: the mesh forgets the dead sooner than this does. */
export function remember(memory: Memory, sightings: readonly Sighting[], nowMs: number): Memory {
  const seen = new Map(sightings.map((sighting) => [sighting.nodeId, sighting]))
  const nodes = new Map<string, KnownNode>()
  for (const nodeId of new Set([...memory.nodes.keys(), ...seen.keys()])) {
    const node = nodeAfter(memory.nodes.get(nodeId), seen.get(nodeId), nowMs)
    if (node !== undefined) nodes.set(nodeId, node)
  }
  return { nodes, mates: matesAfter(memory.mates, seen, nodes) }
}

function nodeAfter(known: KnownNode | undefined, seen: Sighting | undefined, nowMs: number): KnownNode | undefined {
  if (seen?.presence === 'present') {
    const presentSinceMs = known?.presentSinceMs ?? nowMs
    return { nodeId: seen.nodeId, name: seen.name, missingSinceMs: undefined, presentSinceMs, counts: true }
  }
  // Who was never met says nothing about a cut: it may have been gone for long.
  if (known === undefined) return undefined
  const missingSinceMs = known.missingSinceMs ?? nowMs
  if (nowMs - missingSinceMs > FORGET_MS) return undefined
  const { nodeId, name, counts } = known
  return { nodeId, name, missingSinceMs, counts: counts && seen?.presence !== 'gone' }
}

function matesAfter(
  known: Memory['mates'],
  seen: ReadonlyMap<string, Sighting>,
  nodes: ReadonlyMap<string, KnownNode>,
): Memory['mates'] {
  const mates = new Map<string, Map<string, Said>>()
  const put = (unit: string, nodeId: string, said: Said): void => {
    mates.set(unit, (mates.get(unit) ?? new Map<string, Said>()).set(nodeId, said))
  }
  for (const [unit, saids] of known) {
    for (const [nodeId, said] of saids) {
      if (nodes.has(nodeId) && saysOf(seen.get(nodeId)) === undefined) put(unit, nodeId, said)
    }
  }
  for (const sighting of seen.values()) {
    for (const [unit, said] of saysOf(sighting) ?? []) put(unit, sighting.nodeId, said)
  }
  return mates
}

/** What it says now; undefined when that is not known, or out of date. */
function saysOf(sighting: Sighting | undefined): Sighting['says'] {
  return sighting?.presence === 'present' ? sighting.says : undefined
}

/** How a node that has just come back stands to a unit, before it has said so. */
export function beforeItTells(stand: Stand): Stand {
  return stand === 'holds' ? 'returning' : stand
}
