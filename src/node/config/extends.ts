import type { Report } from './fault.ts'
import type { Path, Place } from './place.ts'
import { didYouMean } from './suggest.ts'
import { type Entry, find, type MapTree, mergeTrees, type Tree, withEntry } from './tree.ts'

/** Reads the file that an `extends` at `from` names; undefined when that failed and was reported. */
export type LoadOther = (
  file: string,
  from: { readonly place: Place; readonly path: Path },
) => Promise<OtherFile | undefined>

export interface OtherFile {
  /** As messages show it. */
  readonly source: string
  readonly tree: Tree
}

interface Reference {
  readonly place: Place
  readonly file: string | undefined
  readonly unit: string
}

/**
 * Replaces each unit that `extends` another by the two merged, the unit's own keys winning.
 * The other unit is in the same configuration or in the file named, and may itself extend a third.
 */
export async function resolveExtends(root: MapTree, load: LoadOther, report: Report): Promise<MapTree> {
  const units = root.entries.get('units')?.value
  if (units?.kind !== 'map') return root
  const resolver = new Resolver(load, report)
  const home: OtherFile = { source: '', tree: root }
  let resolved = units
  for (const [name, { value }] of units.entries) {
    if (value.kind !== 'map' || !value.entries.has('extends')) continue
    resolved = withEntry(resolved, name, await resolver.unit(home, name, value))
  }
  return withEntry(root, 'units', resolved)
}

/** One pass over a configuration: remembers what is resolved, and what it is in the middle of. */
class Resolver {
  readonly #load: LoadOther
  readonly #report: Report
  readonly #done = new Map<string, Tree>()
  #trail: readonly string[] = []

  constructor(load: LoadOther, report: Report) {
    this.#load = load
    this.#report = report
  }

  async unit(file: OtherFile, name: string, unit: Tree): Promise<Tree> {
    const label = file.source === '' ? name : `${file.source}:${name}`
    const reference = referenceOf(unit)
    if (reference === undefined || unit.kind !== 'map') return unit
    const known = this.#done.get(label)
    if (known !== undefined) return known
    const own = withEntry(unit, 'extends', undefined)
    this.#done.set(label, own)
    const outer = this.#trail
    this.#trail = [...outer, label]
    const base = await this.#base(file, name, reference)
    this.#trail = outer
    // What could not be resolved keeps its key, so that nobody complains of what the other unit would have given.
    const merged = base === undefined ? unit : mergeTrees(base, own)
    this.#done.set(label, merged)
    return merged
  }

  async #base(file: OtherFile, name: string, reference: Reference): Promise<Tree | undefined> {
    const from = { place: reference.place, path: ['units', name, 'extends'] }
    const fault = (text: string): Tree | undefined => {
      this.#report({ ...from, text })
      return undefined
    }
    const other = reference.file === undefined ? file : await this.#load(reference.file, from)
    if (other === undefined) return undefined
    const units = find(other.tree, ['units'])
    const entries: ReadonlyMap<string, Entry> = units?.kind === 'map' ? units.entries : new Map()
    const entry = entries.get(reference.unit)
    if (entry === undefined) {
      const where = other.source === '' ? '' : ` in ${other.source}`
      return fault(`no unit '${reference.unit}'${where}${didYouMean(reference.unit, entries.keys())}`)
    }
    const label = other.source === '' ? reference.unit : `${other.source}:${reference.unit}`
    if (this.#trail.includes(label)) {
      const cycle = [...this.#trail.slice(this.#trail.indexOf(label)), label].join(' -> ')
      return fault(`extends itself: ${cycle}`)
    }
    return this.unit(other, reference.unit, entry.value)
  }
}

/** Undefined when there is none or its form is wrong: the schema, which still sees it, has the words for that. */
function referenceOf(unit: Tree): Reference | undefined {
  const value = find(unit, ['extends'])
  const text = (tree: Tree | undefined): string | undefined =>
    tree?.kind === 'scalar' && typeof tree.value === 'string' ? tree.value : undefined
  if (value === undefined) return undefined
  const alone = text(value)
  if (alone !== undefined) return { place: value.place, file: undefined, unit: alone }
  const name = text(find(value, ['unit']))
  const fileTree = find(value, ['file'])
  const file = text(fileTree)
  const others = value.kind === 'map' ? [...value.entries.keys()].filter((key) => key !== 'file' && key !== 'unit') : []
  if (name === undefined || others.length > 0 || (fileTree !== undefined && file === undefined)) return undefined
  return { place: value.place, file, unit: name }
}
