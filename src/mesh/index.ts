import type { Libp2pConfig, Libp2pSeams } from './libp2p-options.ts'
import type { Transport } from './transport.ts'

export { MeshConfig } from './config.ts'
export type { MeshTiming } from './presets.ts'
export { timingOf } from './timing.ts'
export type { LoopWatch } from './detector/stalls.ts'
export { type Identity, identityFrom, loadIdentity } from './identity.ts'
export { KeyRing } from './keys/key-ring.ts'
export { MESH_KEY_BYTES, meshKeyFingerprint, newMeshKey } from './keys/mesh-key.ts'
export type { Libp2pConfig, Libp2pSeams } from './libp2p-options.ts'
export type {
  Canary,
  MemberView,
  MeshEvent,
  NodeRecord,
  OnCall,
  Registration,
  ScheduleClaim,
  Tenure,
} from './member.ts'
export type { MemberStatus } from './merge.ts'
export type { Mesh, MeshNodeConfig, MeshSeams } from './api.ts'
export { createMesh } from './mesh.ts'
export type { DiscoveryWay, Transport, TransportHandlers } from './transport.ts'

/** Loads the code of libp2p ahead of its use. */
export async function loadLibp2p(): Promise<void> {
  await import('./libp2p/transport.ts')
}

/** The transport over libp2p, not started. Loaded only when asked for: libp2p costs about 26 MB, and 0.1 s bundled, 0.5 to 2 s unbundled. */
export async function libp2pTransport(seams: Libp2pSeams, config: Libp2pConfig): Promise<Transport> {
  const { createLibp2pTransport } = await import('./libp2p/transport.ts')
  return createLibp2pTransport(seams, config)
}
