import { deepFreeze, originsOf, withDefaults } from './effective.ts'
import { explain, wordless } from './explain.ts'
import { type Fault, faultError } from './fault.ts'
import { ConfigFiles, type ConfigSources, type ReadFile } from './files.ts'
import type { Variables } from './interpolate.ts'
import { checkJobs } from './jobs.ts'
import { formatPath, type Path } from './place.ts'
import { checkRules, keysWithoutMeaning, type PlainUnits } from './rules.ts'
import { fileSchema, type NodeFileConfig, type NodeUnitConfig } from './schema.ts'
import { shapesOf, toPlain } from './shape.ts'
import { reportGaps, warningsOf } from './support.ts'
import { find, type MapTree, type Tree, withEntry } from './tree.ts'

export interface ConfigSeams {
  readonly readFile: ReadFile
  /** The default of `node.name`; what a node name cannot hold becomes `-`. */
  readonly hostname: string
  /** The version of HSU, for messages about what it does not support. */
  readonly version: string
}

/** A configuration that passed every check. */
export interface LoadedConfig {
  readonly config: NodeFileConfig
  /** The same in the words of the file (`10s`, `64MiB`), with all defaults. */
  readonly effective: Readonly<Record<string, unknown>>
  /** Where each value of `effective` comes from, by dotted key: `hsu.yaml:12:5`, `env HSU_DATA_DIR` or `default`. */
  readonly origins: ReadonlyMap<string, string>
  /** One line each, with the place: what is taken but has no effect yet. */
  readonly warnings: readonly string[]
  /** Absolute paths of the files that were read, `.env` and the files of `extends` among them. */
  readonly files: readonly string[]
  /** The directory of the first file, absolute: relative paths in the configuration start from it. */
  readonly baseDir: string
}

/**
 * Reads, merges and checks the configuration of a node.
 *
 * @throws HsuError `CONFIG_INVALID` naming every fault at once, each on a line with its file, line and column;
 * `UNSUPPORTED` when all of them are things that this version does not do yet
 */
export async function loadConfig(sources: ConfigSources, seams: ConfigSeams): Promise<LoadedConfig> {
  const faults: Fault[] = []
  const report = (fault: Fault): void => void faults.push(fault)
  const files = new ConfigFiles(sources, seams.readFile, report)
  const merged = await files.merged()
  if (merged === undefined) throw faultError(faults, files.shown)
  const tree = overrule(await files.extended(merged), sources.env)
  const plain = toPlain(tree, shapesOf(fileSchema)) as PlainFile
  const units = unitNames(tree)

  const parsed = fileSchema.safeParse(plain, wordless)
  faults.push(...checked(tree, units.length === 0 ? {} : (plain.units ?? {}), parsed.error?.issues ?? []))
  await checkJobs(tree, units, report)
  reportGaps(tree, units, seams.version, report)
  if (!parsed.success || faults.length > 0) throw faultError(faults, files.shown)

  const { node, ...others } = parsed.data
  const name = node.name ?? nodeNameOf(seams.hostname)
  const written = { ...plain, node: { ...plain.node, name } }
  const effective = withoutMeaningless(withDefaults(fileSchema, written) as Effective)
  const config: NodeFileConfig = deepFreeze({ ...others, mesh: others.mesh, node: { ...node, name } })
  return {
    config,
    effective: deepFreeze(effective),
    origins: originsOf(effective, tree),
    warnings: warningsOf(tree, config),
    files: files.paths,
    baseDir: files.baseDir,
  }
}

/** The file as the schema is to judge it; anything may be wrong with it. */
interface PlainFile {
  readonly node?: Readonly<Record<string, unknown>>
  readonly units?: PlainUnits
}

function unitNames(tree: Tree): readonly string[] {
  const units = find(tree, ['units'])
  return units?.kind === 'map' ? [...units.entries.keys()] : []
}

interface Effective extends Record<string, unknown> {
  readonly units: Readonly<Record<string, { readonly kind: NodeUnitConfig['kind'] }>>
}

/** Without the defaults of keys that mean nothing for the unit: a default must not look like an effect. */
function withoutMeaningless(effective: Effective): Effective {
  const units = Object.entries(effective.units).map(([name, unit]) => {
    const meaningless = keysWithoutMeaning(unit.kind)
    const keys = Object.entries(unit).filter(([key]) => !meaningless.includes(key))
    return [name, Object.fromEntries(keys.map(([key, value]) => [key, meaningfulPart(unit.kind, key, value)]))]
  })
  return { ...effective, units: Object.fromEntries(units) as Effective['units'] }
}

/** Nobody starts an unmanaged unit: the probe of its start means nothing. */
function meaningfulPart(kind: NodeUnitConfig['kind'], key: string, value: unknown): unknown {
  if (kind !== 'unmanaged' || key !== 'probes') return value
  return Object.fromEntries(Object.entries(value as object).filter(([role]) => role !== 'start'))
}

/** Variables that overrule a key; for one-off starts and for tests. */
const OVERRIDES: Readonly<Record<string, readonly [section: string, key: string]>> = {
  HSU_NODE_NAME: ['node', 'name'],
  HSU_DATA_DIR: ['node', 'data_dir'],
  HSU_LOG_LEVEL: ['node', 'log_level'],
}

function overrule(tree: MapTree, env: Variables): MapTree {
  let result = tree
  for (const [variable, [section, key]] of Object.entries(OVERRIDES)) {
    const text = env[variable]
    if (text === undefined || text === '') continue
    const place = { source: `env ${variable}`, line: 0, column: 0 }
    const above = find(result, [section]) ?? { kind: 'map', place, entries: new Map() }
    if (above.kind !== 'map') continue
    const value: Tree = { kind: 'scalar', place, value: text, source: text, written: text, quoted: true, faults: [] }
    result = withEntry(result, section, withEntry(above, key, value))
  }
  return result
}

/** Faults of variables, of values, and of rules over several of them; only the first kind for a value that has it. */
function checked(tree: Tree, units: PlainUnits, issues: Parameters<typeof explain>[0]): readonly Fault[] {
  const variables = variableFaults(tree, [])
  const places = new Set(variables.map(({ path }) => formatPath(path)))
  const others = [...explain(issues, fileSchema, tree)]
  checkRules(tree, units, (fault) => void others.push(fault))
  return [...variables, ...others.filter(({ path }) => !places.has(formatPath(path)))]
}

function variableFaults(tree: Tree, path: Path): readonly Fault[] {
  if (tree.kind === 'scalar') return tree.faults.map((text) => ({ place: tree.place, path, text }))
  if (tree.kind === 'list') return tree.items.flatMap((item, index) => variableFaults(item, [...path, index]))
  return [...tree.entries].flatMap(([key, { value }]) => variableFaults(value, [...path, key]))
}

/** A host name as a node name: other characters become `-`, and it is cut to 63. */
function nodeNameOf(hostname: string): string {
  const plain = hostname.replace(/[^A-Za-z0-9._-]/g, '-').slice(0, 63)
  return plain.replace(/^[^A-Za-z0-9]+|[^A-Za-z0-9]+$/g, '') || 'node'
}
