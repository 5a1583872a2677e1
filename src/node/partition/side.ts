/** A node of the mesh, as far as it matters when some of them cannot be reached. */
export interface KnownNode {
  readonly nodeId: string
  readonly name: string
  /** Monotonic time since when it cannot be reached; undefined while it can. */
  readonly missingSinceMs: number | undefined
  /** Monotonic time since when it can be reached; absent for one that cannot, and for this node. */
  readonly presentSinceMs?: number
  /** False for one that left politely or was removed: the rest is not a part of the mesh for that. */
  readonly counts: boolean
}

/** What is on this side of a cut. */
export interface Side {
  /** Nodes that count, this one included. */
  readonly known: number
  /** Those of them that can be reached. */
  readonly present: number
  /** Names of the others, sorted. */
  readonly missing: readonly string[]
  /** Monotonic time since when this side is the smaller one; undefined while it is not. */
  readonly smallerSinceMs: number | undefined
}

/**
 * Whether this node is on the smaller side: fewer than half of the nodes that count can be reached, or just half of them and
 * not the one whose name comes first. Both sides of a cut come to opposite answers as long as they knew the same nodes.
 */
export function sideOf(nodes: readonly KnownNode[]): Side {
  const counted = nodes.filter(({ counts }) => counts)
  const present = counted.filter(({ missingSinceMs }) => missingSinceMs === undefined)
  const names = new Set(present.map(({ name }) => name))
  // A host that was set up anew under the same name stands in for the node that it was.
  const missing = counted.filter(({ missingSinceMs, name }) => missingSinceMs !== undefined && !names.has(name))
  const [first] = [...present, ...missing].sort(byName)
  return {
    known: present.length + missing.length,
    present: present.length,
    missing: missing.map(({ name }) => name).sort(),
    smallerSinceMs: smallerSince(present.length, missing, first),
  }
}

/** The moment at which so many were missing that the rest became the smaller side. */
function smallerSince(
  present: number,
  missing: readonly KnownNode[],
  first: KnownNode | undefined,
): number | undefined {
  const known = present + missing.length
  const inOrder = [...missing].sort((one, other) => sinceOf(one) - sinceOf(other))
  for (const [index, node] of inOrder.entries()) {
    const reached = known - index - 1
    const isFirstGone = inOrder.slice(0, index + 1).some((gone) => gone === first)
    if (2 * reached < known || (2 * reached === known && isFirstGone)) return sinceOf(node)
  }
  return undefined
}

function sinceOf({ missingSinceMs }: KnownNode): number {
  return missingSinceMs ?? 0
}

function byName(one: KnownNode, other: KnownNode): number {
  return compare(one.name, other.name) || compare(one.nodeId, other.nodeId)
}

function compare(one: string, other: string): number {
  return one < other ? -1 : one > other ? 1 : 0
}
