import type * as z from 'zod'
import { formatPath, formatPlace, type Path } from './place.ts'
import { find, type Tree } from './tree.ts'

/** Adds the defaults to a valid value, in the words of the file: `10s`, not 10000. */
export function withDefaults(schema: z.core.$ZodType, value: unknown): unknown {
  const { def } = (schema as z.core.$ZodTypes)._zod
  if ((def.type === 'default' || def.type === 'prefault') && value === undefined) {
    return withDefaults(def.innerType, def.defaultValue)
  }
  if (value === undefined) return undefined
  if ('innerType' in def) return withDefaults(def.innerType, value)
  if (def.type === 'pipe') return withDefaults(def.in, value)
  if (def.type === 'union') {
    const option = def.options.find((each) => accepts(each, value))
    return option === undefined ? value : withDefaults(option, value)
  }
  if (def.type === 'array') return (value as readonly unknown[]).map((item) => withDefaults(def.element, item))
  if (def.type === 'record') return mapValues(value as PlainMap, (item) => withDefaults(def.valueType, item))
  return def.type === 'object' ? withDefaultKeys(def.shape, value as PlainMap) : value
}

type PlainMap = Readonly<Record<string, unknown>>

function accepts(schema: z.core.$ZodType, value: unknown): boolean {
  return (schema as z.ZodType).safeParse(value).success
}

function withDefaultKeys(shape: z.core.$ZodShape, value: PlainMap): PlainMap {
  const whole = Object.entries(shape).map(([key, schema]) => [key, withDefaults(schema, value[key])] as const)
  return Object.fromEntries(whole.filter(([, item]) => item !== undefined))
}

function mapValues(value: PlainMap, change: (item: unknown) => unknown): PlainMap {
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, change(item)]))
}

/** Where each value and each list of `effective` comes from: `hsu.yaml:12:5`, `env HSU_DATA_DIR` or `default`. */
export function originsOf(effective: unknown, tree: Tree): ReadonlyMap<string, string> {
  const origins = new Map<string, string>()
  for (const path of leavesOf(effective, [])) {
    const written = find(tree, path)
    origins.set(formatPath(path), written === undefined ? 'default' : formatPlace(written.place))
  }
  return origins
}

function leavesOf(value: unknown, path: Path): readonly Path[] {
  if (Array.isArray(value)) return [path, ...value.flatMap((item, index) => leavesOf(item, [...path, index]))]
  if (typeof value !== 'object' || value === null || Object.keys(value).length === 0) return [path]
  return Object.entries(value).flatMap(([key, item]) => leavesOf(item, [...path, key]))
}

/** Freezes a value all the way down. */
export function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const item of Object.values(value)) deepFreeze(item)
  }
  return value
}
