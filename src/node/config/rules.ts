import { checkUnit, findCycle } from '../../process/index.ts'
import type { Report } from './fault.ts'
import type { Path } from './place.ts'
import { type NodeUnitConfig, unitSchema } from './schema.ts'
import { didYouMean } from './suggest.ts'
import { find, placeOf, type Tree } from './tree.ts'

/** The units as the schema is to judge them, by name; anything may be wrong with them. */
export type PlainUnits = Readonly<Record<string, unknown>>

/**
 * Reports what the schema of one value cannot see: rules over several keys, over several units, and templates.
 * Looks past keys that are wrong in themselves, so that both kinds of fault come in one message.
 */
export function checkRules(tree: Tree, units: PlainUnits, report: Report): void {
  const fault = (path: Path, text: string): void => report({ place: placeOf(tree, path), path, text })
  for (const [name, plain] of Object.entries(units)) {
    const { config, wrong } = salvage(plain)
    const below = (path: Path, text: string): void => {
      if (!wrong.has(String(path[0]))) fault(['units', name, ...path], text)
    }
    const incomplete = find(tree, ['units', name, 'extends']) !== undefined
    if (config !== undefined && !incomplete && !wrong.has('kind')) {
      checkUnit(config, below)
      checkKind(config, tree, name, below)
      checkListen(config, below)
    }
    checkTemplates(tree, name, fault)
  }
  checkDependencies(tree, Object.keys(units), fault)
}

interface Salvaged {
  /** With defaults in place of the keys that are wrong; undefined for what is no map at all. */
  readonly config: NodeUnitConfig | undefined
  readonly wrong: ReadonlySet<string>
}

function salvage(plain: unknown): Salvaged {
  const whole = unitSchema.safeParse(plain)
  if (whole.success) return { config: whole.data, wrong: new Set() }
  if (typeof plain !== 'object' || plain === null || Array.isArray(plain))
    return { config: undefined, wrong: new Set() }
  const wrong = new Set<string>()
  const entries = Object.entries(unitSchema.shape).map(([key, schema]) => {
    const parsed = schema.safeParse((plain as Record<string, unknown>)[key])
    if (!parsed.success) wrong.add(key)
    return [key, parsed.success ? parsed.data : schema.parse(undefined)] as const
  })
  return { config: Object.fromEntries(entries) as unknown as NodeUnitConfig, wrong }
}

type Kind = NodeUnitConfig['kind']

/** Keys that mean something for some kinds of unit only. */
const KINDS_OF_KEY: Readonly<Record<string, readonly Kind[]>> = {
  services: ['integrated'],
  route: ['integrated'],
  allow: ['unmanaged'],
  checks: ['unmanaged'],
  ...Object.fromEntries(
    [
      'cwd',
      'user',
      'env',
      'env_inherit',
      'replicas',
      'restart',
      'stop',
      'logs',
      'depends_on',
      'activation',
      'idle',
      'watch',
      'job',
      'schedule',
      'partition',
      'listen',
    ].map((key) => [key, ['managed', 'integrated']]),
  ),
}

/** The keys that have no meaning for units of `kind`. */
export function keysWithoutMeaning(kind: Kind): readonly string[] {
  return Object.keys(KINDS_OF_KEY).filter((key) => KINDS_OF_KEY[key]?.includes(kind) === false)
}

/** What is passed on goes to a declared port, and one that the unit does not listen on at the same address. */
function checkListen({ listen, ports }: NodeUnitConfig, below: (path: Path, text: string) => void): void {
  for (const [port, address] of Object.entries(listen)) {
    const own = ports[port]
    if (own === undefined) {
      const meant = didYouMean(port, Object.keys(ports))
      below(['listen', port], `is none of its ports${meant === '' ? `; add ${port}: auto to ports` : meant}`)
    } else if (address.endsWith(`:${own}`)) {
      below(['listen', port], 'is the port of the unit itself; give it another one there, such as auto')
    }
  }
}

function checkKind(
  { kind }: NodeUnitConfig,
  tree: Tree,
  name: string,
  below: (path: Path, text: string) => void,
): void {
  for (const key of keysWithoutMeaning(kind)) {
    if (find(tree, ['units', name, key]) === undefined) continue
    below([key], `is only for kind: ${KINDS_OF_KEY[key]?.join(' or ') ?? ''}; this unit is ${kind}`)
  }
  if (kind === 'unmanaged') checkUnmanagedProbes(tree, name, below)
  const isJob = ['job', 'schedule'].some((key) => find(tree, ['units', name, key]) !== undefined)
  if (isJob && find(tree, ['units', name, 'partition']) !== undefined)
    below(['partition'], 'is for units that are kept running; a job has schedule.scope')
}

/** The process of an unmanaged unit is not ours: it is neither started nor restarted, and its output is not read. */
function checkUnmanagedProbes(tree: Tree, name: string, below: (path: Path, text: string) => void): void {
  for (const role of ['start', 'live']) {
    if (find(tree, ['units', name, 'probes', role]) === undefined) continue
    below(
      ['probes', role],
      'is for units that the node starts and restarts; an unmanaged unit has probes.ready and checks',
    )
  }
  if (find(tree, ['units', name, 'probes', 'ready', 'log']) !== undefined) {
    below(['probes', 'ready', 'log'], 'is for units whose output the node has; use another kind for an unmanaged unit')
  }
}

function checkDependencies(tree: Tree, names: readonly string[], fault: (path: Path, text: string) => void): void {
  const edges = new Map<string, string[]>()
  for (const name of names) {
    const known: string[] = []
    for (const { path, target, elsewhere } of dependenciesOf(tree, name)) {
      checkCondition(tree, path, target, fault)
      if (names.includes(target)) known.push(target)
      else if (!elsewhere) {
        const others = names.filter((other) => other !== name)
        fault(path, `no unit '${target}'${didYouMean(target, others)}`)
      }
    }
    edges.set(name, known)
  }
  // Each round reports one cycle and cuts it, so that the next is found too.
  for (let cycle = findCycle(dependents(edges)); cycle !== undefined; cycle = findCycle(dependents(edges))) {
    const [first = '', second = ''] = cycle
    fault(['units', first, 'depends_on'], `goes in a circle: ${cycle.join(' -> ')}`)
    edges.set(first, edges.get(first)?.filter((target) => target !== second) ?? [])
  }
}

/** What an unmanaged unit can never be. */
const NOT_OF_UNMANAGED: Readonly<Record<string, string>> = {
  log: 'the output of an unmanaged unit is not read',
  completed: 'an unmanaged unit never completes',
}

function checkCondition(tree: Tree, path: Path, target: string, fault: (path: Path, text: string) => void): void {
  const kind = find(tree, ['units', target, 'kind'])
  const condition = find(tree, [...path, 'condition'])
  if (kind?.kind !== 'scalar' || kind.source !== 'unmanaged' || condition?.kind !== 'scalar') return
  const why = NOT_OF_UNMANAGED[condition.source]
  if (why !== undefined) fault([...path, 'condition'], `${why}; use started or healthy`)
}

function dependents(edges: ReadonlyMap<string, readonly string[]>): Parameters<typeof findCycle>[0] {
  return [...edges].map(([name, targets]) => {
    return { name, config: { depends_on: Object.fromEntries(targets.map((target) => [target, true])) } }
  })
}

interface Dependency {
  readonly path: Path
  readonly target: string
  /** It may be a unit of another node, whose names are not known here. */
  readonly elsewhere: boolean
}

function dependenciesOf(tree: Tree, name: string): readonly Dependency[] {
  const above = ['units', name, 'depends_on']
  const value = find(tree, above)
  if (value?.kind === 'map') {
    return [...value.entries.keys()].map((target) => {
      const scope = find(tree, [...above, target, 'scope'])
      return { path: [...above, target], target, elsewhere: scope?.kind === 'scalar' && scope.source === 'mesh' }
    })
  }
  if (value?.kind !== 'list') return []
  return value.items.flatMap((item, index) =>
    item.kind === 'scalar' && typeof item.value === 'string'
      ? [{ path: [...above, index], target: item.value, elsewhere: false }]
      : [],
  )
}

const TEMPLATED = ['run', 'env', 'probes', 'checks'] as const

/** The same form that the process floor fills in when it starts an instance (a test compares the two). */
const TEMPLATE = /(?<!\{)\{([a-z_]+(?:\.[A-Za-z0-9_-]+)?)\}(?!\})/g

function checkTemplates(tree: Tree, name: string, fault: (path: Path, text: string) => void): void {
  const ports = find(tree, ['units', name, 'ports'])
  const portNames = ports?.kind === 'map' ? [...ports.entries.keys()] : []
  const values = new Set(['unit.name', 'unit.instance', 'replica', 'node.name', 'data_dir'])
  for (const port of portNames) values.add(`port.${port}`)
  for (const key of TEMPLATED) {
    for (const [path, text] of textsOf(tree, ['units', name, key])) {
      const templates = new Set([...text.matchAll(TEMPLATE)].map(([, template = '']) => template))
      for (const template of templates) {
        if (!values.has(template)) fault(path, templateFault(template, portNames, values))
      }
    }
  }
}

function templateFault(template: string, ports: readonly string[], values: ReadonlySet<string>): string {
  const port = /^port\.(.*)$/.exec(template)?.[1]
  if (port !== undefined) {
    const meant = didYouMean(port, ports)
    return `{${template}} is not declared${meant === '' ? `; add ${port} to ports` : meant}`
  }
  const meant = didYouMean(template, values)
  const known = [...values].map((value) => `{${value}}`).join(' ')
  return `unknown template {${template}}${meant === '' ? `; known here: ${known}` : meant}`
}

/** All text below `path`, with its own path. */
function textsOf(tree: Tree, path: Path): readonly (readonly [path: Path, text: string])[] {
  const value = find(tree, path)
  if (value === undefined) return []
  if (value.kind === 'scalar') return [[path, value.source]]
  const steps = value.kind === 'map' ? [...value.entries.keys()] : [...value.items.keys()]
  return steps.flatMap((step) => textsOf(tree, [...path, step]))
}
