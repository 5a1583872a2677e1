import type { Path, Place } from './place.ts'

/** A configuration as it is written, each value with its place. Several files become one tree. */
export type Tree = MapTree | ListTree | ScalarTree

export interface MapTree {
  readonly kind: 'map'
  readonly place: Place
  readonly entries: ReadonlyMap<string, Entry>
}

/** One key of a map. A fault of a whole map, or of a key, is shown at the key. */
export interface Entry {
  readonly keyPlace: Place
  readonly value: Tree
}

export interface ListTree {
  readonly kind: 'list'
  readonly place: Place
  readonly items: readonly Tree[]
}

export interface ScalarTree {
  readonly kind: 'scalar'
  readonly place: Place
  /** Undefined for null. */
  readonly value: string | number | boolean | undefined
  /** The value as text after substitution: `1.10` where `value` is 1.1. */
  readonly source: string
  /** As in the file, before substitution; messages show this, because variables may hold secrets. */
  readonly written: string
  /** Not plain: its type is text, whatever it looks like. */
  readonly quoted: boolean
  /** What is wrong with its variables; reported only when the value is used in the end. */
  readonly faults: readonly string[]
}

/** Lays `over` on `base`: maps are merged deeply; anything else is replaced. Every value keeps its place. */
export function mergeTrees(base: Tree, over: Tree): Tree {
  if (base.kind !== 'map' || over.kind !== 'map') return over
  const entries = new Map(base.entries)
  for (const [key, entry] of over.entries) {
    const below = entries.get(key)
    entries.set(key, below === undefined ? entry : { ...entry, value: mergeTrees(below.value, entry.value) })
  }
  return { ...over, entries }
}

/** The tree with one key of a map replaced, or removed when `value` is undefined. */
export function withEntry(map: MapTree, key: string, value: Tree | undefined): MapTree {
  const entries = new Map(map.entries)
  if (value === undefined) entries.delete(key)
  else entries.set(key, { keyPlace: entries.get(key)?.keyPlace ?? value.place, value })
  return { ...map, entries }
}

/** The value at `path`; undefined when there is none. */
export function find(tree: Tree, path: Path): Tree | undefined {
  let current: Tree | undefined = tree
  for (const step of path) current = current === undefined ? undefined : below(current, step)
  return current
}

function below(tree: Tree, step: string | number): Tree | undefined {
  if (tree.kind === 'map') return tree.entries.get(String(step))?.value
  return tree.kind === 'list' ? tree.items[Number(step)] : undefined
}

/** Where to point for a fault at `path`: at the value, at the key of a map or a list, or at the nearest that is there. */
export function placeOf(tree: Tree, path: Path): Place {
  let place = tree.place
  let current: Tree = tree
  for (const step of path) {
    const next = below(current, step)
    if (next === undefined) return place
    const keyPlace = current.kind === 'map' ? current.entries.get(String(step))?.keyPlace : undefined
    place = next.kind === 'scalar' ? next.place : (keyPlace ?? next.place)
    current = next
  }
  return place
}

/** Where the last key of `path` itself is written. */
export function keyPlaceOf(tree: Tree, path: Path): Place {
  const key = path.at(-1)
  const map = find(tree, path.slice(0, -1))
  const entry = map?.kind === 'map' ? map.entries.get(String(key)) : undefined
  return entry?.keyPlace ?? placeOf(tree, path)
}
