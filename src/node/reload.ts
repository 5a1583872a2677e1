import { HsuError, messageOf } from '../base/error.ts'
import type { Log } from '../base/log.ts'
import type { Supervisor } from '../process/index.ts'
import { type ConfigChange, configChange } from './config-change.ts'
import { type LiveSetup, withVariablesOf } from './live-setup.ts'
import type { NodeNews } from './node-news.ts'
import type { NodeSetup } from './node-setup.ts'

/** Reads the configuration again and applies what changed, or, on a dry run, only tells. @throws HsuError CONFIG_INVALID */
export type Reload = (dryRun: boolean, actor: string) => Promise<ConfigChange>

export interface ReloadSeams {
  readonly log: Log
  readonly live: LiveSetup
  /** Reads the configuration from where the node got it. @throws HsuError CONFIG_INVALID naming every fault */
  readonly reread: () => Promise<NodeSetup>
  readonly supervisor: () => Pick<Supervisor, 'apply'>
  /** Called when units and their services may have changed. */
  readonly changed: () => void
  readonly news: Pick<NodeNews, 'tell'>
}

/** One reload after the other: each compares with what the one before it put in force. */
export function createReload(seams: ReloadSeams): Reload {
  let last: Promise<unknown> = Promise.resolve()
  return (dryRun, actor) => {
    const turn = last.then(() => (dryRun ? compare(seams) : reload(seams, actor)))
    last = turn.catch(() => undefined)
    return turn
  }
}

async function compare({
  live,
  reread,
}: Pick<ReloadSeams, 'live' | 'reread'>): Promise<ConfigChange & { next: NodeSetup }> {
  const next = await reread()
  return { ...configChange(live.setup, { ...next, units: withVariablesOf(live.setup, next) }), next }
}

async function reload(seams: ReloadSeams, actor: string): Promise<ConfigChange> {
  const { log, news } = seams
  try {
    const { next, ...change } = await compare(seams)
    // Told first: what now happens to units is because of it.
    news.tell('config.reloaded', { details: summaryOf(change), actor })
    if (change.units.length > 0) await apply(seams, next)
    if (change.needsUpgrade.length > 0) {
      const keys = change.needsUpgrade.join(', ')
      log.warn('configuration: what changed outside units takes effect with hsu upgrade, or a new start', { keys })
    }
    return change
  } catch (error) {
    log.error('configuration not reloaded: the old one stays in force', { error })
    news.tell('config.refused', { reason: messageOf(error), actor })
    throw HsuError.from(error)
  }
}

async function apply({ live, supervisor, changed }: ReloadSeams, next: NodeSetup): Promise<void> {
  const back = live.exchange(next)
  try {
    await supervisor().apply(live.setup.units)
  } catch (error) {
    back()
    throw error
  } finally {
    changed()
  }
}

/** `{ added: 'a, b', restarted: 'c' }`; what did not happen is left out. */
function summaryOf({ units, needsUpgrade }: ConfigChange): Record<string, string> {
  const kinds = ['added', 'removed', 'restarted', 'updated'] as const
  const named = kinds.map(
    (kind) => [kind, units.filter(({ change }) => change === kind).map(({ unit }) => unit)] as const,
  )
  const all = [...named, ['needsUpgrade', needsUpgrade] as const]
  return Object.fromEntries(
    all.filter(([, names]) => names.length > 0).map(([kind, names]) => [kind, names.join(', ')]),
  )
}
