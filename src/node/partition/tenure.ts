import { formatDurationMs } from '../../base/quantity.ts'

/**
 * How a node stands to a unit that only one of several nodes runs.
 * `out`: it is not wanted there. `idle`: it would run it. `returning`: it ran it before, and does not know yet who does now.
 * `holds`: it is the one that runs it. `stopped`: the same, but a person wants it down.
 */
export type Stand = (typeof STANDS)[number]

const STANDS = ['out', 'idle', 'returning', 'holds', 'stopped'] as const

/** A word of another node; one that this version does not know stands for nothing. */
export function standFrom(word: string): Stand {
  return STANDS.find((stand) => stand === word) ?? 'out'
}

/** What a node says of a unit. */
export interface Tenure {
  readonly stand: Stand
  /** Grows each time a person moves the unit: the highest counts. */
  readonly term: number
}

/** Another node that has the unit, by what it last said. */
export interface Mate extends Tenure {
  readonly nodeId: string
  readonly name: string
  /** It has processes of the unit, perhaps about to end. */
  readonly hasProcess: boolean
  /** How long it cannot be reached; undefined while it can. */
  readonly missingForMs: number | undefined
}

/** All that a node decides by whether to run such a unit. */
export interface TenureView {
  readonly self: { readonly nodeId: string; readonly name: string }
  readonly own: Tenure
  /** It is wanted up on this node. */
  readonly wanted: boolean
  readonly hasProcess: boolean
  readonly mates: readonly Mate[]
  readonly replaceAfterMs: number
  /** Names of nodes, the preferred first. */
  readonly order: readonly string[]
  /** How long until the view can be trusted; 0 = it can. */
  readonly settlesInMs: number
  /** False on the side of a partition on which the unit is not to run. */
  readonly mayRun: boolean
}

export interface TenureVerdict {
  readonly own: Tenure
  /** Why it is not to run here; undefined when it may. */
  readonly held: string | undefined
  /** Why it may from now on, for whom that is news. */
  readonly why: string
  /** When to look again though nothing has changed. */
  readonly againInMs: number | undefined
}

/**
 * Who runs a unit that several nodes have. Whoever holds it keeps it. When nobody does, it goes to the first in `order`, then
 * by name, of those that can be reached; a holder that cannot is waited for until `replaceAfterMs` are over. When two hold it,
 * after a partition, the one of the higher term keeps it, of equal ones the first in order.
 */
export function tenureOf(view: TenureView): TenureVerdict {
  const { own, mayRun, wanted } = view
  switch (own.stand) {
    case 'holds':
    case 'stopped':
      return mayRun ? holding(view) : waiting(view, 'returning', 'must not run on this side')
    case 'returning':
      return mayRun ? taking(view) : waiting(view, 'returning', 'must not run on this side')
    case 'idle':
    case 'out':
      return wanted ? taking(view) : { ...verdict({ stand: 'out', term: own.term }, undefined), why: 'not wanted here' }
  }
}

/** What a person's wish to have it here makes of it. */
export function moved({ own, mates }: Pick<TenureView, 'own' | 'mates'>): Tenure {
  const isHolding = own.stand === 'holds' || own.stand === 'stopped'
  const highest = Math.max(own.term, ...mates.map(({ term }) => term))
  const isFirst = mates.every((mate) => !isHolder(mate) || mate.term < own.term)
  return { stand: 'holds', term: isHolding && isFirst ? own.term : highest + 1 }
}

function holding(view: TenureView): TenureVerdict {
  const { own, wanted } = view
  const winner = presentOf(view).find((mate) => isHolder(mate) && isBefore(mate, view))
  if (winner !== undefined) {
    const why = winner.term > own.term ? 'it was moved there' : 'it comes first there'
    return waiting({ ...view, own: { ...own, term: winner.term } }, 'idle', `${runsOn(winner)}: ${why}`)
  }
  return verdict({ stand: wanted ? 'holds' : 'stopped', term: own.term }, view.hasProcess ? undefined : leftover(view))
}

/** For a node that does not hold it: because of whom it does not, or it does from now on. */
function taking(view: TenureView): TenureVerdict {
  const { own, hasProcess, settlesInMs, replaceAfterMs } = view
  const present = presentOf(view)
  const stand = own.stand === 'returning' ? 'returning' : 'idle'
  const holder = present.find(isHolder)
  // It has given way to one that is only just back, and its process is still ending: nothing is left to find out.
  const hasYielded = stand === 'idle' && holder !== undefined
  if (hasProcess && settlesInMs > 0 && !hasYielded) {
    return { ...verdict({ ...own, stand }, undefined), againInMs: settlesInMs }
  }
  if (stand === 'returning' && hasProcess) return holding({ ...view, own: { ...own, stand: 'holds' } })
  if (holder !== undefined) return waiting(view, 'idle', runsOn(holder))
  if (settlesInMs > 0) return waiting(view, stand, 'asks the other nodes who runs it', settlesInMs)
  const earlier = present.find((mate) => isEarlier(mate, stand, view))
  if (earlier !== undefined) return waiting(view, stand, `is left to ${earlier.name}, which comes first`)
  const missing = missingHolder(view)
  if (missing?.stand === 'stopped') return waiting(view, stand, `was stopped on ${missing.name}, which is missing`)
  if (missing !== undefined && missing.missingForMs < replaceAfterMs) {
    const reason = `ran on ${missing.name}, which is missing; it is replaced after ${formatDurationMs(replaceAfterMs)}`
    return waiting(view, stand, reason, replaceAfterMs - missing.missingForMs)
  }
  if (!view.mayRun) return waiting(view, stand, 'must not run on this side')
  const why = missing === undefined ? 'no other node runs it' : `takes over from ${missing.name}, which is missing`
  return { ...holding({ ...view, own: { ...own, stand: 'holds' } }), why }
}

function verdict(own: Tenure, held: string | undefined): TenureVerdict {
  return { own, held, why: '', againInMs: undefined }
}

function waiting({ own, wanted }: TenureView, stand: Stand, held: string, againInMs?: number): TenureVerdict {
  const isOut = stand === 'idle' && !wanted
  return { own: { stand: isOut ? 'out' : stand, term: own.term }, held, why: '', againInMs }
}

/** Of two nodes one lets go first: then the other begins. */
function leftover(view: TenureView): string | undefined {
  const busy = presentOf(view).find(({ hasProcess }) => hasProcess)
  return busy && `waits until ${busy.name} has stopped it`
}

function presentOf({ mates }: TenureView): readonly Mate[] {
  return mates.filter(({ missingForMs }) => missingForMs === undefined)
}

function isHolder({ stand }: Tenure): boolean {
  return stand === 'holds' || stand === 'stopped'
}

/** Of those that cannot be reached and had it, the one that went last: whoever went before it had been replaced by then. */
function missingHolder({ mates }: TenureView): (Mate & { readonly missingForMs: number }) | undefined {
  return mates
    .flatMap((mate) => {
      const { missingForMs } = mate
      const hadIt = isHolder(mate) || mate.stand === 'returning'
      return hadIt && missingForMs !== undefined ? [{ ...mate, missingForMs }] : []
    })
    .sort((one, other) => one.missingForMs - other.missingForMs)[0]
}

/** Whoever ran it before is asked first; of equals, the first in order. */
function isEarlier(mate: Mate, stand: 'idle' | 'returning', view: TenureView): boolean {
  if (mate.stand === 'returning') return stand === 'idle' || ranksBefore(mate, view)
  return mate.stand === 'idle' && stand === 'idle' && ranksBefore(mate, view)
}

function isBefore(mate: Mate, view: TenureView): boolean {
  if (mate.term !== view.own.term) return mate.term > view.own.term
  return ranksBefore(mate, view)
}

function ranksBefore(mate: Mate, { self, order }: TenureView): boolean {
  const rank = (name: string): number => (order.includes(name) ? order.indexOf(name) : order.length)
  const difference = rank(mate.name) - rank(self.name)
  if (difference !== 0) return difference < 0
  return mate.name === self.name ? mate.nodeId < self.nodeId : mate.name < self.name
}

function runsOn({ name, stand }: Mate): string {
  return stand === 'stopped' ? `was stopped on ${name}, which has it` : `runs on ${name}`
}
