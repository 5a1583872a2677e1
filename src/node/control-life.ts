import { HsuError } from '../base/error.ts'
import type { CallContext } from '../rpc/index.ts'
import { askerOf } from './actor.ts'
import type { NodeCore } from './node-core.ts'

/** How long calls under way may go on in a process that was replaced, unless told. */
export const DEFAULT_DRAIN_MS = 30_000
/** Every wait has an end. */
const MAX_DRAIN_MS = 3_600_000

interface Duration {
  readonly seconds: bigint
  readonly nanos: number
}

function toMs({ seconds, nanos }: Duration): number {
  return Number(seconds) * 1_000 + nanos / 1e6
}

/** The part of the control API that is about the node's own process and its configuration. */
export function lifeHandlers(core: NodeCore) {
  return {
    async shutdown({ keepUnits }: { keepUnits: boolean }, context: CallContext) {
      core.requestShutdown(askerOf(context).actor, keepUnits ? 'keep' : 'stop')
      return {}
    },
    async upgrade({ drain }: { drain?: Duration | undefined }, context: CallContext) {
      core.refuseWhenStopping()
      const drainMs = drain === undefined ? DEFAULT_DRAIN_MS : Math.min(MAX_DRAIN_MS, toMs(drain))
      return core.upgrade.run({ drainMs, actor: askerOf(context).actor })
    },
    async reload({ dryRun }: { dryRun: boolean }, context: CallContext) {
      core.refuseWhenStopping()
      try {
        const { units, needsUpgrade } = await core.reload(dryRun, askerOf(context).actor)
        return {
          changes: units.map((change) => ({ ...change, keys: [...change.keys] })),
          needsUpgrade: [...needsUpgrade],
        }
      } catch (thrown) {
        const error = HsuError.from(thrown)
        if (error.reason !== 'CONFIG_INVALID' && error.reason !== 'UNSUPPORTED') throw error
        return { fault: error.message }
      }
    },
  }
}
