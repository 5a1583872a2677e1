import type { ControlService, ServiceClient } from '../../rpc/index.ts'
import { ACTOR_KEY } from '../actor.ts'
import type { MeshWakerSeams } from './mesh-waker.ts'

/** Longer than a start takes; how long a call waits for it, its own unit says. */
const MAX_WAKE_MS = 600_000

/** Asks other nodes through their control API to wake units. */
export function wakerElsewhere(
  control: Pick<ServiceClient<typeof ControlService>, 'wakeUnit'>,
): MeshWakerSeams['wakeElsewhere'] {
  return async (nodeId, request, { forCall, asker }, signal) => {
    const metadata = { 'hsu-node': nodeId, [ACTOR_KEY]: encodeURIComponent(asker.actor) }
    const options = { metadata, signal, timeoutMs: MAX_WAKE_MS }
    const { instances, nodeId: wokenOn } = await control.wakeUnit({ ...request, forCall }, options)
    return { nodeId: wokenOn, instances: instances.filter(({ ready }) => ready) }
  }
}
