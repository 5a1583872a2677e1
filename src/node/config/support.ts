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
  /** What to write instead. */
  readonly instead: string
}

// biome-ignore format: a table reads by column
const GAPS: readonly Gap[] = [
  { path: ['expose'], value: 'lan',                      instead: 'use private' },
]

/** What this version refuses, as it is written below a unit: `expose: lan`. */
export function unsupportedKeys(): readonly string[] {
  return GAPS.map(
    ({ path, value }) => `${path.join('.').replace('*', 'NAME')}${value === undefined ? '' : `: ${value}`}`,
  )
}

/** Reports what a configuration asks for and this version lacks: nothing that is asked for may silently not happen. */
export function reportGaps(tree: Tree, units: readonly string[], version: string, report: Report): void {
  for (const unit of units) {
    for (const gap of GAPS) {
      for (const path of expand(tree, ['units', unit], gap.path)) {
        const found = find(tree, path)
        const value = found?.kind === 'scalar' ? found.source : undefined
        if (found === undefined || (gap.value !== undefined && gap.value !== value)) continue
        const what = gap.value === undefined ? '' : `${gap.value} `
        const text = `${what}is not supported by this version (${version}); ${gap.instead}`
        report({ place: placeOf(tree, path), path, text, unsupported: true })
      }
    }
  }
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
