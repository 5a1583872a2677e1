import type { UnitSpec } from '../launch.ts'
import type { Forwarders, ForwardersSeams } from './forward/forwarders.ts'

/** Forwards the lines of those units that want it; what that takes is loaded with the first of them. */
export interface Forwarding {
  /** Call it before units are started, so that their first lines are forwarded too. */
  begin(specs: readonly UnitSpec[]): Promise<void>
  /** Call it when units were removed, so that their last lines are. */
  retain(specs: readonly UnitSpec[]): void
  stop(): Promise<void>
}

export function createForwarding(seams: ForwardersSeams): Forwarding {
  let loaded: Forwarders | undefined
  return {
    async begin(specs) {
      if (loaded === undefined && specs.every(({ config }) => config.logs.forward.length === 0)) return
      loaded ??= (await import('./forward/forwarders.ts')).createForwarders(seams)
      loaded.begin(specs)
    },
    retain: (specs) => loaded?.retain(specs),
    async stop() {
      await loaded?.stop()
    },
  }
}
