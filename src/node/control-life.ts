import { HsuError } from '../base/error.ts'
import type { CallContext } from '../rpc/index.ts'
import { askerOf } from './actor.ts'
import type { NodeCore } from './node-core.ts'

/** The part of the control API that is about the node's own process and its configuration. */
export function lifeHandlers(core: NodeCore) {
  return {
    async shutdown({ keepUnits }: { keepUnits: boolean }, context: CallContext) {
      core.requestShutdown(askerOf(context).actor, keepUnits ? 'keep' : 'stop')
      return {}
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
