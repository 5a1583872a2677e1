import type { TaskGroup } from '../../base/task-group.ts'
import type { LimitsConfig } from '../config.ts'
import type { Exit } from '../exit.ts'
import type { Child, ProcessHost, SpawnRequest } from '../host.ts'
import type { Meter } from '../meter.ts'
import type { LimitStatus } from '../status.ts'
import { meansOf } from './means.ts'
import { type KeeperSeams, type KernelEnd, LimitKeeper } from './keeper.ts'
import { looksKilled } from './oom.ts'
import { actionFor, capsOf, type LimitMeans, type LimitPlan, planLimits } from './plan.ts'
import type { Resource } from './resources.ts'

export interface SlotLimitsSeams extends Omit<KeeperSeams, 'raise'> {
  readonly host: ProcessHost
  /** Measures often, for those that have limits. */
  readonly meter: Pick<Meter, 'track'>
  readonly tasks: TaskGroup
}

/** The limits of one slot, over all its instances: a limit that was raised stays so until the node ends. */
export class SlotLimits {
  readonly #seams: SlotLimitsSeams
  readonly #raises: Partial<Record<Resource, number>> = {}
  #plans: readonly LimitPlan[] = []
  /** What was warned of last. */
  #warned = ''
  #keeper: LimitKeeper | undefined
  #untrack: () => void = () => undefined

  constructor(seams: SlotLimitsSeams) {
    this.#seams = seams
  }

  get status(): readonly LimitStatus[] {
    return (
      this.#keeper?.status ??
      this.#plans.map(({ resource, value, mode, by }) => ({ resource, value, mode, by, used: undefined }))
    )
  }

  /** What the host has to know of the limits before it starts an instance. */
  async request(config: LimitsConfig): Promise<Pick<SpawnRequest, 'caps' | 'limited'>> {
    const means = await meansOf(this.#seams.host)
    this.#plan(config, means)
    if (this.#plans.length === 0) return {}
    return { caps: capsOf(this.#plans, means, config), limited: limitedIn(this.#plans, means) }
  }

  /** What is asked for and not to be had is said, once. */
  #plan(config: LimitsConfig, means: LimitMeans): void {
    this.#plans = planLimits(config, means, this.#raises)
    const lacking = this.#plans.filter(
      ({ resource, mode }) =>
        mode === 'unsupported' || (mode === 'watched' && actionFor(config, resource) === undefined),
    )
    const text = JSON.stringify(lacking.map(({ resource, mode }) => [resource, mode]))
    if (lacking.length > 0 && text !== this.#warned) {
      for (const { resource, mode, by, action } of lacking) {
        const advice = "'hsu doctor' tells what this host can do"
        if (mode === 'unsupported') this.#seams.log.warn('limit has no effect on this host', { resource, by, advice })
        else
          this.#seams.log.warn('limit cannot be enforced on this host, only watched', { resource, by, action, advice })
      }
    }
    this.#warned = text
  }

  /** Begins to see to the limits of an instance, or sees to others from now on. */
  watch(child: Child, config: LimitsConfig): void {
    this.#seams.tasks.run(() => this.#watch(child, config))
  }

  async #watch(child: Child, config: LimitsConfig): Promise<void> {
    this.#untrack()
    const { host, meter, tasks, log } = this.#seams
    const means = await meansOf(host)
    this.#plan(config, means)
    const { cell } = child
    await cell?.hold(capsOf(this.#plans, means, config)).catch((error: unknown) => {
      log.warn('the kernel did not take the limits of a unit', { error })
    })
    const raise = (resource: Resource): readonly LimitPlan[] => {
      this.#raises[resource] = (this.#raises[resource] ?? 0) + 1
      return (this.#plans = planLimits(config, means, this.#raises))
    }
    const keeper = new LimitKeeper({ ...this.#seams, raise }, { config, means, plans: this.#plans, cell })
    this.#keeper = keeper
    if (this.#plans.length === 0) return
    const root = child.leader.pid > 0 ? child.leader : child.main
    this.#untrack = meter.track(root, (usage) => tasks.run(() => keeper.observe(usage)))
  }

  /** Whether the kernel ended the instance for its use of memory. Its limits are not seen to any more. */
  async ended(exit: Exit | undefined): Promise<KernelEnd | undefined> {
    this.detach()
    const keeper = this.#keeper
    this.#keeper = undefined
    return keeper?.ended(exit)
  }

  /** The same of an instance that ended while no node ran. */
  async endedUnseen(directory: string, exit: Exit | undefined): Promise<string | undefined> {
    if (!looksKilled(exit)) return undefined
    const { oomKills = 0 } = (await (await this.#seams.host.cellOf(directory))?.read()) ?? {}
    return oomKills > 0 ? 'memory used up (resource_limit): ended by the kernel' : undefined
  }

  detach(): void {
    this.#untrack()
    this.#untrack = () => undefined
  }
}

/** Everything that is limited, and processor time where that is how memory is throttled. */
function limitedIn(plans: readonly LimitPlan[], { kernel }: LimitMeans): readonly Resource[] {
  const slowed = plans.some(({ resource, action }) => resource === 'memory' && action === 'throttle')
  const resources = plans.map(({ resource }) => resource)
  return slowed && kernel.enforces.has('cpu') ? [...new Set<Resource>([...resources, 'cpu'])] : resources
}
