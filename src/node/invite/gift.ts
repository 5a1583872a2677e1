import * as z from 'zod'
import { HsuError } from '../../base/error.ts'
import type { Mesh } from '../../mesh/index.ts'
import { formatMeshKeys, parseMeshKeys } from '../mesh-key.ts'
import type { NodeSetup } from '../node-setup.ts'

/** What an invited host gets. */
export interface Gift {
  /** Name of the mesh. */
  readonly mesh: string
  /** Content of the key file. */
  readonly keyFile: string
  /** `host:port` of mesh ports, those of the inviting node first. */
  readonly seeds: readonly string[]
}

/** How many places to look for the mesh a guest is given. */
const MAX_SEEDS = 4

/** What a guest of this node gets; undefined while it is in no mesh. */
export function giftOf(setup: NodeSetup, mesh: Mesh | undefined): Gift | undefined {
  const keys = mesh?.heldKeys() ?? []
  if (mesh === undefined || setup.mesh === undefined || keys.length === 0) return undefined
  const present = mesh.members().filter(({ status }) => status === 'alive')
  const seeds = present.flatMap(({ record }) => (record?.meshAddresses ?? []).slice(0, 2).flatMap(hostPortOf))
  return { mesh: setup.mesh.config.name, keyFile: formatMeshKeys(keys.slice(0, 2)), seeds: seeds.slice(0, MAX_SEEDS) }
}

/** `/ip4/10.0.0.5/tcp/9471` as `10.0.0.5:9471`. */
function hostPortOf(multiaddress: string): string[] {
  const [, kind, host = '', , port = ''] = multiaddress.split('/')
  return kind === 'ip4' ? [`${host}:${port}`] : kind === 'ip6' ? [`[${host}]:${port}`] : []
}

/** Not strict: a newer node may give more. */
const schema = z.object({
  mesh: z.string().regex(/^[a-z0-9-]{1,63}$/),
  keyFile: z.string().max(4_096),
  seeds: z.array(z.string().regex(/^[^\s"'#]{1,80}:\d{1,5}$/)).max(64),
})

export function formatGift(gift: Gift): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(gift))
}

/** @throws HsuError USAGE when it is none */
export function parseGift(bytes: Uint8Array): Gift {
  try {
    const gift = schema.parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)))
    parseMeshKeys(gift.keyFile, 'the key')
    return gift
  } catch (cause) {
    throw new HsuError('USAGE', 'the inviting node answered with something that this version does not understand', {
      cause,
    })
  }
}
