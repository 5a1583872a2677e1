import type * as z from 'zod'
import type { Fault } from './fault.ts'
import type { Path } from './place.ts'
import { keysAt, nounsOf, shapesAt } from './shape.ts'
import { didYouMean } from './suggest.ts'
import { find, keyPlaceOf, placeOf, type Tree } from './tree.ts'

/** Stands for "the schema has no words of its own for this fault". */
const NO_WORDS = '\u0000'

/** For `safeParse`: leaves the wording of all faults without a message of their own to `explain`. */
export const wordless = { error: () => NO_WORDS }

interface Subject {
  readonly schema: z.core.$ZodType
  readonly tree: Tree
}

/** The faults that zod found in the values of `tree`, with their places and in words a person can act on. */
export function explain(issues: readonly z.core.$ZodIssue[], schema: z.core.$ZodType, tree: Tree): readonly Fault[] {
  return issues.flatMap((issue) => explainOne(issue, [], { schema, tree }))
}

function explainOne(issue: z.core.$ZodIssue, above: Path, subject: Subject): readonly Fault[] {
  const path = [...above, ...(issue.path as Path)]
  const place = placeOf(subject.tree, path)
  const value = find(subject.tree, path)
  if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => unknownKey(key, path, subject))
  if (value === undefined) return [{ place, path, text: missing(path, subject) }]
  if (value.kind === 'scalar' && value.value === undefined && value.source === '') {
    return [{ place, path, text: `is empty; write ${wanted(path, subject)}, or remove the key` }]
  }
  if (issue.code === 'invalid_key') {
    const words = issue.issues.map(({ message }) => message).find((message) => message !== NO_WORDS)
    return [{ place: keyPlaceOf(subject.tree, path), path, text: words ?? 'is not a valid name' }]
  }
  if (issue.code === 'invalid_union' && issue.message === NO_WORDS) {
    const meant = optionMeant(issue.errors)
    if (meant !== undefined) return meant.flatMap((inner) => explainOne(inner, path, subject))
  }
  return [{ place, path, text: issue.message === NO_WORDS ? words(issue, value, path, subject) : issue.message }]
}

function unknownKey(key: string, path: Path, { schema, tree }: Subject): Fault {
  const keys = keysAt(schema, path)
  const meant = didYouMean(key, keys)
  const known = keys.length === 0 ? '' : `; known here: ${keys.join(', ')}`
  const at = [...path, key]
  return { place: keyPlaceOf(tree, at), path: at, text: `unknown key${meant === '' ? known : meant}` }
}

/** The faults of the one option that fits the value's type best; undefined when it is of no option's type. */
function optionMeant(options: readonly (readonly z.core.$ZodIssue[])[]): readonly z.core.$ZodIssue[] | undefined {
  const fitting = options.filter((issues) => !issues.some(isWrongType))
  return fitting.reduce<readonly z.core.$ZodIssue[] | undefined>(
    (best, issues) => (best === undefined || issues.length < best.length ? issues : best),
    undefined,
  )
}

function isWrongType(issue: z.core.$ZodIssue): boolean {
  if (issue.path.length > 0) return false
  if (issue.code === 'invalid_union') return issue.errors.every((issues) => issues.some(isWrongType))
  return issue.code === 'invalid_type' || issue.code === 'invalid_value'
}

function missing(path: Path, subject: Subject): string {
  const nouns = wanted(path, subject)
  return nouns === '' ? 'is required' : `is required: ${nouns}`
}

function words(issue: z.core.$ZodIssue, value: Tree, path: Path, subject: Subject): string {
  if (issue.code === 'too_small') return tooSmall(issue)
  if (issue.code === 'too_big') {
    return issue.origin === 'array' ? `must have at most ${issue.maximum} items` : `must be at most ${issue.maximum}`
  }
  if (issue.code === 'invalid_format') return `is not a valid ${issue.format}`
  const isValue = ['invalid_type', 'invalid_value', 'invalid_union'].includes(issue.code)
  return isValue ? wrongValue(value, path, subject) : 'is not valid'
}

function tooSmall({ origin, minimum, inclusive }: z.core.$ZodIssueTooSmall): string {
  if (origin === 'string' || ((origin === 'array' || origin === 'map') && minimum === 1)) return 'must not be empty'
  if (origin === 'array') return `must have at least ${minimum} items`
  return inclusive === false ? `must be more than ${minimum}` : `must be at least ${minimum}`
}

function wrongValue(value: Tree, path: Path, subject: Subject): string {
  const nouns = shapesAt(subject.schema, path).flatMap(nounsOf)
  const text = value.kind === 'scalar' && typeof value.value === 'string' ? value.value : undefined
  const meant = text === undefined ? '' : didYouMean(text, nouns)
  return `must be ${wanted(path, subject)}, not ${shown(value)}${meant === '' ? unquote(value, nouns) : meant}`
}

/** The likeliest slip of all: a number or true/false in quotes. */
function unquote(value: Tree, nouns: readonly string[]): string {
  if (value.kind !== 'scalar' || !value.quoted) return ''
  const number = /^-?\d+$/.test(value.source) && nouns.some((noun) => noun.endsWith('number'))
  const flag = /^(true|false)$/.test(value.source) && nouns.includes('true or false')
  return number || flag ? '; remove the quotes' : ''
}

/** `a list or a map`; `one of managed, unmanaged, integrated`; empty when the schema does not care. */
function wanted(path: Path, { schema }: Subject): string {
  const nouns = [...new Set(shapesAt(schema, path).flatMap(nounsOf))]
  if (nouns.length <= 2) return nouns.join(' or ')
  return `one of ${nouns.join(', ')}`
}

const MAX_SHOWN = 40

function shown(value: Tree): string {
  if (value.kind !== 'scalar') return value.kind === 'map' ? 'a map' : 'a list'
  const { written } = value
  const short = written.length > MAX_SHOWN ? `${written.slice(0, MAX_SHOWN)}...` : written
  if (typeof value.value === 'string') return `'${short}'`
  return typeof value.value === 'number' ? `the number ${short}` : short
}
