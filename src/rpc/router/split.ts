import { below, type Random } from '../../base/random.ts'
import { type Canary, type Endpoint, WHOLE_SHARE } from '../endpoint-source.ts'

/** Units that stand in for each other: what a call may go to once it is decided which of the parts of a service it gets. */
export interface Part {
  /** Sorted by name. */
  readonly units: readonly string[]
  /** Of `WHOLE_SHARE` calls, which is what those of all parts of a split come to. */
  readonly share: number
  /** Metadata of calls that go to it in any case, all of it; empty: there are none. */
  readonly headers: readonly (readonly [key: string, value: string])[]
}

/**
 * How calls to one service are split between the units that offer it: the parts of canaries by name, then that of all others. The ingress
 * goes by it, and xDS clients are told the same.
 */
export type Split = readonly Part[]

/**
 * The split of a service with these endpoints; undefined when all of its units are alike. A unit of which nothing is ready, nor
 * could be started, has no part: calls are better answered by another one. Shares that come to more than all are cut alike.
 */
export function splitOf(endpoints: readonly Endpoint[]): Split | undefined {
  if (endpoints.every(({ canary }) => canary === undefined)) return undefined
  const units = new Map<string, Canary | undefined>()
  for (const { unit, ready, onCall, canary } of endpoints) {
    if (ready || onCall?.starts === true) units.set(unit, lower(units.get(unit), canary))
  }
  const names = [...units.keys()].sort()
  const stable = names.filter((unit) => units.get(unit) === undefined)
  if (stable.length === 0 || stable.length === names.length) return undefined
  const asked = [...units.values()].reduce((sum, canary) => sum + (canary?.share ?? 0), 0)
  const canaries = names.flatMap((unit): Part[] => {
    const canary = units.get(unit)
    if (canary === undefined) return []
    const share = asked <= WHOLE_SHARE ? canary.share : Math.floor((canary.share * WHOLE_SHARE) / asked)
    return [{ units: [unit], share, headers: Object.entries(canary.headers).sort(byKey) }]
  })
  const taken = canaries.reduce((sum, { share }) => sum + share, 0)
  return [...canaries, { units: stable, share: WHOLE_SHARE - taken, headers: [] }]
}

/** The part that one call goes to: that of the first canary it asks for by metadata, else one by chance. */
export function choosePart(split: Split, textOf: (key: string) => string | undefined, random: Random): Part {
  const wanted = split.find(
    ({ headers }) => headers.length > 0 && headers.every(([key, value]) => textOf(key) === value),
  )
  if (wanted !== undefined) return wanted
  let left = below(WHOLE_SHARE, random)
  for (const part of split) {
    if (left < part.share) return part
    left -= part.share
  }
  return split[split.length - 1] as Part
}

/** Nodes may have said different things of a unit: all come to the same, the smallest share. */
function lower(one: Canary | undefined, other: Canary | undefined): Canary | undefined {
  if (one === undefined || other === undefined) return one ?? other
  return one.share < other.share || (one.share === other.share && text(one) <= text(other)) ? one : other
}

function text({ headers }: Canary): string {
  return JSON.stringify(Object.entries(headers).sort(byKey))
}

function byKey([one]: readonly [string, string], [other]: readonly [string, string]): number {
  return one < other ? -1 : one > other ? 1 : 0
}
