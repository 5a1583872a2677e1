import { randomBytes } from 'node:crypto'
import { silentLog } from '../../src/base/log.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { systemRandom } from '../../src/base/system-random.ts'
import type { Mesh } from '../../src/mesh/api.ts'
import type { Identity } from '../../src/mesh/identity.ts'
import { createLibp2pTransport } from '../../src/mesh/libp2p/transport.ts'
import { createMesh } from '../../src/mesh/mesh.ts'
import { lan } from '../../src/mesh/presets.ts'
import type { Transport } from '../../src/mesh/transport.ts'
import { simStore } from '../../src/sim/sim-store.ts'

const KEY = randomBytes(32)

/** A node's end of a mesh over real connections on loopback, with a disk in memory. */
export interface LiveMesh {
  readonly mesh: Mesh
  readonly transport: Transport
}

/** One run of a node; `disk` is what earlier runs of it left. It knows nobody but its seeds. */
export async function startLiveMesh(
  name: string,
  identity: Identity,
  disk: Map<string, Uint8Array>,
  seeds: readonly string[],
): Promise<LiveMesh> {
  const base = { clock: systemClock, random: systemRandom, log: silentLog, store: simStore(disk), identity }
  const discovery = { mdns: false, seeds, interfaces: [] }
  const transport = await createLibp2pTransport(base, { keys: () => [KEY], listen: '127.0.0.1:0', discovery })
  const mesh = createMesh(
    { ...base, transport },
    {
      ...{ ...lan, name, version: '0.0.0', labels: {} },
      linkAddresses: () => [],
      linkFingerprints: () => [],
    },
  )
  await mesh.start()
  return { mesh, transport }
}
