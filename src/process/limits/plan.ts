import type { LimitsConfig } from '../config.ts'
import type { Caps, KernelLimits } from './backend.ts'
import { type Amounts, RESOURCES, type Resource } from './resources.ts'
import type { WatchRule } from './watch.ts'

/** What is done about a unit that uses more than it may. */
export type LimitAction = 'log' | 'alert' | 'restart' | 'stop' | 'kill' | 'throttle' | 'raise'

/** Who sees to a limit: the kernel, the node, or nobody. */
export type LimitMode = 'enforced' | 'watched' | 'unsupported'

/** What comes of one configured limit on this host. */
export interface LimitPlan {
  readonly resource: Resource
  readonly value: number
  readonly mode: LimitMode
  /** By what it is enforced or watched, or why it is not, in words. */
  readonly by: string
  /** What the kernel is to hold the unit to; undefined = nothing. */
  readonly cap: number | undefined
  /** What the node does when the limit stays exceeded; undefined = the kernel sees to it. */
  readonly action: LimitAction | undefined
}

/** What there is to see to limits with. */
export interface LimitMeans {
  readonly kernel: KernelLimits
  /** What the use of can be measured. */
  readonly watchable: ReadonlySet<Resource>
}

/** By what a limit is watched, and why one is neither that nor enforced. */
export const USAGE = 'usage of its processes'
export const NEITHER = 'this host can neither enforce nor measure it'

/** How often a limit may be raised. */
export const MAX_RAISES = 3

/** While it uses too much memory, a unit that is to be throttled and that the kernel cannot slow down itself gets this much of a core. */
export const THROTTLED_CORES = 0.1

/** The limits of a configuration as amounts. */
function limitsOf({ memory, cpu, pids, files, io }: LimitsConfig): Amounts {
  return { memory, cpu, pids, files, 'io.read': io?.read, 'io.write': io?.write }
}

/** Decides for each limit who sees to it. `raises`: how often each was raised already. */
export function planLimits(
  config: LimitsConfig,
  means: LimitMeans,
  raises: Readonly<Partial<Record<Resource, number>>> = {},
): readonly LimitPlan[] {
  const configured = limitsOf(config)
  return RESOURCES.flatMap((resource) => {
    const first = configured[resource]
    if (first === undefined) return []
    const raised = Math.min(raises[resource] ?? 0, MAX_RAISES)
    const asked = actionFor(config, resource)
    // A limit that was raised as often as may be is one like any other.
    const action = asked === 'raise' && raised >= MAX_RAISES ? undefined : asked
    const bound = first * config.raise_factor ** MAX_RAISES
    const value = asked === 'raise' ? whole(resource, first * config.raise_factor ** raised) : first
    return [planOne(resource, value, action, whole(resource, bound), means)]
  })
}

function planOne(
  resource: Resource,
  value: number,
  action: LimitAction | undefined,
  bound: number,
  { kernel, watchable }: LimitMeans,
): LimitPlan {
  const kernelBy = kernel.enforces.get(resource)
  const cap = kernelBy === undefined ? undefined : capFor(resource, value, action, bound)
  const slows = resource === 'memory' && action === 'throttle' && kernel.slowsMemory
  if (kernelBy !== undefined && (cap === value || slows)) {
    return { resource, value, mode: 'enforced', by: kernelBy, cap, action: afterKernel(action) }
  }
  if (watchable.has(resource)) {
    return {
      resource,
      value,
      mode: 'watched',
      by: USAGE,
      cap,
      action: action ?? unenforced(resource),
    }
  }
  return { resource, value, mode: 'unsupported', by: NEITHER, cap, action }
}

/** What the kernel holds to when it can. Too many processes or open files at once harm the host before the node sees them. */
function capFor(resource: Resource, value: number, action: LimitAction | undefined, bound: number): number | undefined {
  const isCount = resource === 'pids' || resource === 'files'
  switch (action) {
    case undefined:
      return value
    case 'throttle':
      return resource === 'memory' ? undefined : value
    case 'log':
    case 'alert':
      return undefined
    case 'raise':
      return isCount ? bound : undefined
    case 'restart':
    case 'stop':
    case 'kill':
      return isCount ? value : undefined
  }
}

/** What is slowed down needs no more to be done. */
function afterKernel(action: LimitAction | undefined): LimitAction | undefined {
  return action === 'throttle' ? undefined : action
}

/** What the kernel would have brought about, as far as we can: an end for too much memory, nothing but words for the rest. */
function unenforced(resource: Resource): LimitAction {
  return resource === 'memory' ? 'restart' : 'alert'
}

/** What the configuration says is to be done; undefined = nothing in particular. */
export function actionFor({ on_exceed }: LimitsConfig, resource: Resource): LimitAction | undefined {
  if (typeof on_exceed !== 'object') return on_exceed
  return on_exceed[resource === 'io.read' || resource === 'io.write' ? 'io' : resource]
}

/** Cores come in parts, all else does not. */
function whole(resource: Resource, amount: number): number {
  return resource === 'cpu' ? amount : Math.round(amount)
}

/** What the kernel is asked to hold an instance to. */
export function capsOf(plans: readonly LimitPlan[], { kernel }: LimitMeans, config: LimitsConfig): Caps {
  const caps = Object.fromEntries(plans.flatMap(({ resource, cap }) => (cap === undefined ? [] : [[resource, cap]])))
  const memory = plans.find(({ resource }) => resource === 'memory')
  const isSoft = memory !== undefined && actionFor(config, 'memory') === 'throttle' && kernel.slowsMemory
  return isSoft ? { ...caps, memorySoft: memory.value } : caps
}

/**
 * What is watched of each limit. A limit that the kernel holds to the value cannot be exceeded but reached; who acts on it
 * acts on that. Open files that the kernel limits by process are no sum to warn of.
 */
export function watchRules(plans: readonly LimitPlan[], config: LimitsConfig): ReadonlyMap<Resource, WatchRule> {
  const { warn, spike: spikeMs, sustained: sustainedMs } = config
  const watched = plans.filter(
    ({ resource, mode, action }) => mode !== 'unsupported' && !(resource === 'files' && action === undefined),
  )
  return new Map(
    watched.map(({ resource, value, cap, action }) => {
      const isReached = cap === value && action !== undefined
      // The next smaller whole number: reaching the limit is exceeding that.
      return [resource, { limit: isReached ? value - 1 : value, warn, spikeMs, sustainedMs }]
    }),
  )
}
