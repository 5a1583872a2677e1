import { type Amounts, RESOURCES, type Resource } from './resources.ts'

/** When the use of a resource is worth telling, and when it has to have consequences. */
export interface WatchRule {
  readonly limit: number
  /** Part of the limit from which on it is said that the limit is near. */
  readonly warn: number
  /** What lasts shorter is not even said. */
  readonly spikeMs: number
  /** How long the limit must be exceeded without a break before something is done. */
  readonly sustainedMs: number
}

/**
 * `near`: the warning threshold is passed. `exceeded`: the limit is. `sustained`: it has been for as long as has consequences.
 * `kept`: after that, use is below the warning threshold again.
 */
export type CrossingType = 'near' | 'exceeded' | 'sustained' | 'kept'

/** A threshold that was crossed: told once, until use has been below the warning threshold again. */
export interface Crossing {
  readonly type: CrossingType
  readonly resource: Resource
  readonly used: number
  readonly limit: number
}

export interface WatchState {
  /** Monotonic times since which use is that high without a break; undefined when it is not. */
  readonly nearSinceMs: number | undefined
  readonly overSinceMs: number | undefined
  /** What was told since use was last below the warning threshold. */
  readonly told: readonly CrossingType[]
}

export const UNWATCHED: WatchState = { nearSinceMs: undefined, overSinceMs: undefined, told: [] }

/** Takes one reading into account. Pure; a limit that is just reached is not exceeded. */
export function watchStep(
  state: WatchState,
  used: number,
  nowMs: number,
  { limit, warn, spikeMs, sustainedMs }: WatchRule,
): { readonly state: WatchState; readonly crossed: readonly CrossingType[] } {
  const nearSinceMs = used >= limit * warn ? (state.nearSinceMs ?? nowMs) : undefined
  const overSinceMs = used > limit ? (state.overSinceMs ?? nowMs) : undefined
  if (nearSinceMs === undefined && overSinceMs === undefined) {
    return { state: UNWATCHED, crossed: state.told.includes('exceeded') ? ['kept'] : [] }
  }
  const lasts = (sinceMs: number | undefined, ms: number): boolean => sinceMs !== undefined && nowMs - sinceMs >= ms
  const isSustained = lasts(overSinceMs, sustainedMs)
  const reached: CrossingType[] = []
  if (lasts(nearSinceMs, spikeMs)) reached.push('near')
  if (lasts(overSinceMs, spikeMs) || isSustained) reached.push('exceeded')
  if (isSustained) reached.push('sustained')
  const crossed = reached.filter((type) => !state.told.includes(type))
  return { state: { nearSinceMs, overSinceMs, told: [...state.told, ...crossed] }, crossed }
}

/** Watches one process tree against all its limits. Knows nothing of how the figures were got. */
export interface LimitWatch {
  /** A resource without a figure is passed over. */
  observe(used: Amounts, nowMs: number): readonly Crossing[]
  /** Changes a limit; what was told of the old one is forgotten. */
  change(resource: Resource, limit: number): void
}

export function createLimitWatch(rules: ReadonlyMap<Resource, WatchRule>): LimitWatch {
  const current = new Map(rules)
  const states = new Map<Resource, WatchState>()
  return {
    observe(used, nowMs) {
      return RESOURCES.flatMap((resource): readonly Crossing[] => {
        const [rule, amount] = [current.get(resource), used[resource]]
        if (rule === undefined || amount === undefined) return []
        const { state, crossed } = watchStep(states.get(resource) ?? UNWATCHED, amount, nowMs, rule)
        states.set(resource, state)
        return crossed.map((type) => ({ type, resource, used: amount, limit: rule.limit }))
      })
    },
    change(resource, limit) {
      const rule = current.get(resource)
      if (rule === undefined) return
      current.set(resource, { ...rule, limit })
      states.delete(resource)
    },
  }
}
