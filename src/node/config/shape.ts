import * as z from 'zod'
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
  if ('innerType' in def) return shapesOf(def.innerType)
  if (def.type === 'pipe') return shapesOf(def.in)
  if (def.type === 'union') return def.options.flatMap(shapesOf)
  return [{ schema: known, id, title }]
}

/** The options for the value at `path` below a value of `schema`; empty where the schema knows nothing. */
export function shapesAt(schema: z.core.$ZodType, path: Path): readonly Shape[] {
  let shapes = shapesOf(schema)
  for (const step of path) shapes = shapes.flatMap((shape) => childShapes(shape, step))
  return shapes
}

/** The options for one key of a map, or for one item of a list. */
function childShapes({ schema }: Shape, step: string | number): readonly Shape[] {
  const { def } = schema._zod
  if (def.type === 'array') return typeof step === 'number' ? shapesOf(def.element) : []
  if (typeof step === 'number') return []
  if (def.type === 'record') return shapesOf(def.valueType)
  const child = def.type === 'object' && Object.hasOwn(def.shape, step) ? def.shape[step] : undefined
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
  if (def.type === 'literal') return def.values.map((value) => String(value))
  if (def.type === 'enum') return Object.values(def.entries).map((value) => String(value))
  if (def.type === 'number') return ['format' in def ? 'a whole number' : 'a number']
  const noun = NOUNS[def.type]
  return noun === undefined ? [] : [noun]
}

const NOUNS: Readonly<Record<string, string>> = {
  object: 'a map',
  record: 'a map',
  array: 'a list',
  string: 'text',
  boolean: 'true or false',
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
