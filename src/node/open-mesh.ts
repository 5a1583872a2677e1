import { createMesh, KeyRing, type Mesh, timingOf } from '../mesh/index.ts'
import type { LinkServer } from '../rpc/index.ts'
import { hostPort, linkAddresses, splitHostPort } from './link-addresses.ts'
import type { Ground, Legacy, Tools } from './parts.ts'
import type { NodeSetup } from './node-setup.ts'
import type { Outside } from './outside.ts'

interface MeshNeeds {
  readonly tools: Tools
  readonly linkServer: LinkServer | undefined
}

/** Loads libp2p, which is why it happens late and only where there is a mesh. */
export async function openMesh(
  seams: Outside,
  { name, version, labels, listen, mesh }: NodeSetup,
  { store, identity, legacy }: Ground,
  { tools, linkServer }: MeshNeeds,
): Promise<Mesh> {
  const { clock, random, log, disk, network } = seams
  if (mesh === undefined) throw new Error('a node without a mesh opens none')
  const { discovery, preset, timing } = mesh.config
  const keys = await KeyRing.load({ clock, log, store, writeFile: disk.keyFile(mesh.keyFile) }, mesh.keys)
  const transport = await network.transport(
    { clock, random, log, store, identity },
    {
      keys: keys.inForce,
      listen: meshListen(listen.mesh, legacy),
      discovery: { ...discovery, interfaces: discovery.interfaces ?? [] },
    },
  )
  return createMesh(
    { clock, random, log, store, identity, transport, keys, loop: network.loop() },
    {
      ...timingOf(preset, timing),
      name,
      version,
      labels,
      linkAddresses: () =>
        linkServer === undefined
          ? []
          : linkAddresses(splitHostPort(linkServer.address()), network.addresses(), discovery.interfaces),
      linkFingerprints: () => tools.link?.fingerprints() ?? [],
    },
  )
}

/** Where the process before this one listened, if it was configured alike: others know this node there. */
function meshListen(configured: string, legacy: Legacy | undefined): string {
  const before = legacy?.place?.listened
  if (before?.configured !== configured) return configured
  return hostPort(splitHostPort(configured).host, before.port)
}
