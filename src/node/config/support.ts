import { formatFault, type Report } from './fault.ts'
import type { Path } from './place.ts'
import type { NodeFileConfig } from './schema.ts'
import { find, keyPlaceOf, placeOf, type Tree } from './tree.ts'

/** Something that the file may say and this version does not do. */
interface Gap {
  /** Below a unit; `*` is any name. */
  readonly path: readonly string[]
  /** The value that is not supported; undefined for any. */
  readonly value?: string
  /** It is only not supported together with this key of the same unit. */
  readonly beside?: { readonly key: string; readonly value?: string }
  /** What to write instead. */
  readonly instead: string
}

const WOKEN = 'a unit that sleeps is not kept to one node yet, so let it always run'

// biome-ignore format: a table reads by column
const GAPS: readonly Gap[] = [
  { path: ['expose'], value: 'lan',                                                        instead: 'use private' },
  { path: ['partition', 'replace_after'], beside: { key: 'activation', value: 'on-call' }, instead: WOKEN },
  { path: ['partition', 'replace_after'], beside: { key: 'idle' },                         instead: WOKEN },
]

/** What this version refuses, as it is written below a unit: `expose: lan`. */
export function unsupportedKeys(): readonly string[] {
  return GAPS.map(({ path, value, beside }) => {
    const key = written(path.join('.').replace('*', 'NAME'), value)
    return beside === undefined ? key : `${key} beside ${written(beside.key, beside.value)}`
  })
}

const written = (key: string, value: string | undefined): string => (value === undefined ? key : `${key}: ${value}`)

/** Reports what a configuration asks for and this version lacks: nothing that is asked for may silently not happen. */
export function reportGaps(tree: Tree, units: readonly string[], version: string, report: Report): void {
  for (const unit of units) {
    for (const gap of GAPS) {
      for (const path of expand(tree, ['units', unit], gap.path)) {
        if (!says(tree, path, gap.value)) continue
        const { beside } = gap
        if (beside !== undefined && !says(tree, ['units', unit, beside.key], beside.value)) continue
        const what =
          `${gap.value ?? ''} ${beside === undefined ? '' : `beside ${written(beside.key, beside.value)} `}`.trimStart()
        const text = `${what}is not supported by this version (${version}); ${gap.instead}`
        report({ place: placeOf(tree, path), path, text, unsupported: true })
      }
    }
  }
}

function says(tree: Tree, path: Path, value: string | undefined): boolean {
  const found = find(tree, path)
  if (found === undefined || value === undefined) return found !== undefined
  return found.kind === 'scalar' && found.source === value
}

/** The real paths that a pattern stands for. */
function expand(tree: Tree, above: Path, pattern: readonly string[]): readonly Path[] {
  const [step, ...rest] = pattern
  if (step === undefined) return [above]
  if (step !== '*') return expand(tree, [...above, step], rest)
  const map = find(tree, above)
  return map?.kind === 'map' ? [...map.entries.keys()].flatMap((key) => expand(tree, [...above, key], rest)) : []
}

/** One line for each thing that is taken but has no effect in this version, or hardly the one that was meant. */
export function warningsOf(tree: Tree, config: NodeFileConfig): readonly string[] {
  const warnings: string[] = []
  const warn = (path: Path, text: string): void => {
    if (find(tree, path) !== undefined) warnings.push(formatFault({ place: keyPlaceOf(tree, path), path, text }))
  }
  for (const [name, { ports, replicas }] of Object.entries(config.units)) {
    const fixed = replicas < 2 ? [] : Object.entries(ports).filter(([, port]) => port !== 'auto')
    for (const [port, number] of fixed) {
      const advice = 'use auto, unless the program shares its port (SO_REUSEPORT)'
      warn(['units', name, 'ports', port], `all ${replicas} replicas get port ${number}; ${advice}`)
    }
  }
  return warnings
}
