import type { z } from 'zod'
import { formatPath, formatPlace, type Path } from './place.ts'
import { find, type Tree } from './tree.ts'

/** Adds the defaults to a valid value, in the words of the file: `10s`, not 10000. */
export function withDefaults(schema: z.core.$ZodType, value: unknown): unknown {
  const { def } = (schema as z.core.$ZodTypes)._zod
  switch (def.type) {
    case 'optional':
      return value === undefined ? undefined : withDefaults(def.innerType, value)
    case 'default':
    case 'prefault':
      return withDefaults(def.innerType, value === undefined ? def.defaultValue : value)
    case 'readonly':
    case 'nullable':
      return withDefaults(def.innerType, value)
    case 'pipe':
      return withDefaults(def.in, value)
    case 'union':
      return withDefaults(
        def.options.find((option) => accepts(option, value)) ?? (def.options[0] as z.core.$ZodType),
        value,
      )
    case 'array':
      return (value as readonly unknown[]).map((item) => withDefaults(def.element, item))
    case 'record':
      return mapValues(value as Record<string, unknown>, (item) => withDefaults(def.valueType, item))
    case 'object':
      return withDefaultKeys(def.shape, value as Record<string, unknown>)
    default:
      return value
  }
}

function accepts(schema: z.core.$ZodType, value: unknown): boolean {
  return (schema as z.ZodType).safeParse(value).success
}

function withDefaultKeys(shape: z.core.$ZodShape, value: Record<string, unknown>): Record<string, unknown> {
  const whole = Object.entries(shape).map(([key, schema]) => [key, withDefaults(schema, value[key])] as const)
  return Object.fromEntries(whole.filter(([, item]) => item !== undefined))
}

function mapValues(value: Record<string, unknown>, change: (item: unknown) => unknown): Record<string, unknown> {
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
