import { randomBytes } from 'node:crypto'
import type { Test } from 'tap'
import { silentLog } from '../../src/base/log.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { systemRandom } from '../../src/base/system-random.ts'
import { createIdentity } from '../../src/mesh/identity.ts'
import { createLibp2pTransport } from '../../src/mesh/libp2p/transport.ts'
import type { Transport } from '../../src/mesh/transport.ts'
import { simStore } from '../../src/sim/sim-store.ts'

/** The mesh key of every echo transport of this process. */
export const ECHO_KEY = randomBytes(32)

/** A transport on loopback that echoes; it knows nobody but its seeds. */
export async function echoTransport(t: Test, seeds: readonly string[]): Promise<Transport> {
  const identity = createIdentity()
  const seams = { clock: systemClock, random: systemRandom, log: silentLog, store: simStore(), identity }
  const discovery = { mdns: false, seeds, interfaces: [] }
  const transport = await createLibp2pTransport(seams, { keys: () => [ECHO_KEY], listen: '127.0.0.1:0', discovery })
  transport.handle({
    onRequest: async (_, request) => request,
    onBroadcast: () => undefined,
    onConnected: () => undefined,
    onDisconnected: () => undefined,
  })
  t.teardown(() => transport.stop())
  await transport.start()
  return transport
}
