import type { DiscoveryWay, MemberView } from '../mesh/index.ts'
import type { Check } from './node-core.ts'

/** What there is to say of the mesh of a node. */
export interface DiagnosedMesh {
  /** Undefined for a node without a mesh. */
  readonly config: { readonly name: string; readonly discovery: { readonly mdns: boolean } } | undefined
  /** Whether the node has begun to take part in it. */
  readonly joined: boolean
  readonly ways: readonly DiscoveryWay[]
  readonly members: readonly MemberView[]
}

/** Whether the node is among others, each way by which it finds them, and what would confuse people. */
export function meshChecks({ config, joined, ways, members }: DiagnosedMesh): readonly Check[] {
  const name = 'mesh'
  if (config === undefined) return [{ name, result: 'ok', message: 'none configured: this host works alone' }]
  if (!joined) return [{ name, result: 'failed', message: 'not joined; the log of the node says why' }]
  const off = { name: 'discovery by multicast', result: 'ok', message: 'switched off by mesh.discovery.mdns' } as const
  return [
    companyCheck(config.name, members),
    ...(config.discovery.mdns ? [] : [off]),
    ...ways.map((way) => wayCheck(way, members)),
    ...nameChecks(members),
  ]
}

function companyCheck(mesh: string, members: readonly MemberView[]): Check {
  const name = 'mesh'
  const own = members.find(({ self }) => self)
  if (own?.status === 'removed') {
    const message = `${mesh}: this node was removed from the mesh; hsu mesh restore ${own.record?.name ?? 'NAME'} on another node lets it in again`
    return { name, result: 'failed', message }
  }
  const others = members.filter(({ self }) => !self)
  const alive = others.filter(({ status }) => status === 'alive').length
  if (alive > 0) return { name, result: 'ok', message: `${mesh}: ${alive} other node(s) alive` }
  const known = others.map((member) => `${nameOf(member)} is ${member.status}`)
  const advice = 'check that they have the same key and that UDP 5353 and the mesh port are open, or add seeds'
  const message =
    known.length > 0
      ? `${mesh}: no other node is alive: ${known.join(', ')}`
      : `${mesh}: no other node found; ${advice}`
  return { name, result: 'warning', message }
}

/** One way to find others: any one that works suffices, so that none of them alone is a failure. */
function wayCheck(way: DiscoveryWay, members: readonly MemberView[]): Check {
  const name = titleOf(way)
  const { fault, found } = way
  if (fault !== '') return { name, result: 'warning', message: fault }
  const names = new Map(members.map((member) => [member.nodeId, nameOf(member)]))
  const met = found.flatMap((id) => names.get(id) ?? [])
  const strangers = found.filter((id) => !names.has(id))
  const foreign = `heard of ${strangers.join(', ')}, which ${strangers.length === 1 ? 'is' : 'are'} not in this mesh: another mesh key, or another program`
  const parts = [...(met.length > 0 ? [`found ${met.join(', ')}`] : []), ...(strangers.length > 0 ? [foreign] : [])]
  const result = met.length === 0 && strangers.length > 0 ? 'warning' : 'ok'
  return { name, result, message: parts.length > 0 ? parts.join('; ') : QUIET[way.way] }
}

function titleOf({ way, where }: DiscoveryWay): string {
  if (way === 'mdns') return `discovery by multicast: ${where}`
  return way === 'seed' ? `seed ${where}` : 'remembered nodes'
}

/** What is said of a way that works and by which nobody was found. */
const QUIET: Readonly<Record<DiscoveryWay['way'], string>> = {
  mdns: 'goes out and comes back here; nobody else has answered: nobody is there, or something between drops multicast',
  seed: 'reached',
  remembered: 'none yet: this node has met no other',
}

function nameOf({ nodeId, record, removal }: MemberView): string {
  return record?.name ?? removal?.name ?? nodeId
}

/** Two nodes of one name cannot be told apart on the command line. */
function nameChecks(members: readonly MemberView[]): readonly Check[] {
  const names = members.flatMap(({ status, record }) => (status === 'alive' && record ? [record.name] : []))
  const twice = [...new Set(names.filter((name, index) => names.indexOf(name) !== index))]
  return twice.map((name) => ({
    name: 'node names',
    result: 'warning',
    message: `several nodes are named ${name}; give them names of their own with node.name`,
  }))
}
