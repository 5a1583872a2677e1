import { z } from 'zod'
import type { Path } from './place.ts'
import type { Tree } from './tree.ts'

/** What a value may be at one place of the schema: wrappers taken off, one element an option of a union. */
export interface Shape {
  readonly schema: z.core.$ZodTypes
  /** Of a named kind of value: `duration`, `size`, `text`. */
  readonly id: string | undefined
  readonly title: string | undefined
}

/** The options for a value of `schema`. */
export function shapesOf(schema: z.core.$ZodType): readonly Shape[] {
  const known = schema as z.core.$ZodTypes
  const { id, title } = z.globalRegistry.get(schema) ?? {}
  if (id !== undefined) return [{ schema: known, id, title }]
  const { def } = known._zod
  switch (def.type) {
    case 'optional':
    case 'default':
    case 'prefault':
    case 'nullable':
    case 'readonly':
      return shapesOf(def.innerType)
    case 'pipe':
      return shapesOf(def.in)
    case 'union':
      return def.options.flatMap(shapesOf)
    default:
      return [{ schema: known, id, title }]
  }
}

/** The options for the value at `path` below a value of `schema`; empty where the schema knows nothing. */
export function shapesAt(schema: z.core.$ZodType, path: Path): readonly Shape[] {
  let shapes = shapesOf(schema)
  for (const step of path) shapes = shapes.flatMap((shape) => childShapes(shape, step))
  return shapes
}

/** The options for one key of a map, or for one item of a list. */
export function childShapes({ schema }: Shape, step: string | number): readonly Shape[] {
  const { def } = schema._zod
  if (def.type === 'record') return shapesOf(def.valueType)
  if (def.type === 'array') return shapesOf(def.element)
  const child = def.type === 'object' && Object.hasOwn(def.shape, step) ? def.shape[String(step)] : undefined
  return child === undefined ? [] : shapesOf(child)
}

/** The keys a map may have at `path`. */
export function keysAt(schema: z.core.$ZodType, path: Path): readonly string[] {
  return shapesAt(schema, path).flatMap((shape) => {
    const { def } = shape.schema._zod
    return def.type === 'object' ? Object.keys(def.shape) : []
  })
}

/** What a person is to write: `a map`, `a whole number`, `a duration, such as "10s"`, `'auto'`. */
export function nounsOf(shape: Shape): readonly string[] {
  if (shape.title !== undefined) return [shape.title]
  const { def } = shape.schema._zod
  switch (def.type) {
    case 'object':
    case 'record':
      return ['a map']
    case 'array':
      return ['a list']
    case 'string':
      return ['text']
    case 'number':
      return [def.checks?.some(isWhole) === true || 'format' in def ? 'a whole number' : 'a number']
    case 'boolean':
      return ['true or false']
    case 'literal':
      return def.values.map((value) => String(value))
    case 'enum':
      return Object.values(def.entries).map((value) => String(value))
    default:
      return []
  }
}

function isWhole(check: z.core.$ZodCheck): boolean {
  const { def } = check._zod
  return def.check === 'number_format'
}

/** The values, as JSON would hold them, that the schema judges. Where text may stand, a number stays as it is written. */
export function toPlain(tree: Tree, shapes: readonly Shape[]): unknown {
  if (tree.kind === 'list') {
    return tree.items.map((item, index) =>
      toPlain(
        item,
        shapes.flatMap((shape) => childShapes(shape, index)),
      ),
    )
  }
  if (tree.kind === 'map') {
    const entries = [...tree.entries].map(([key, { value }]) => {
      return [
        key,
        toPlain(
          value,
          shapes.flatMap((shape) => childShapes(shape, key)),
        ),
      ]
    })
    return Object.fromEntries(entries) as unknown
  }
  // A null that the file did not write, but a variable made, is an empty text.
  const explicit = tree.value !== undefined || tree.source !== tree.written
  if (explicit && shapes.some(({ id }) => id === 'text')) return tree.source
  return tree.value ?? null
}
