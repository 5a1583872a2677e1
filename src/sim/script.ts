import { isMap, isScalar, LineCounter, parseDocument, type ParsedNode } from 'yaml'
import * as z from 'zod'
import { HsuError } from '../base/error.ts'
import { duration, percentage } from '../base/schema.ts'
import type { Behaviour } from './behaviour.ts'

type NodeVerb = 'thaw' | 'crash' | 'kill' | 'start' | 'stop' | 'new_ip' | 'disk_full' | 'disk_free'

/** Something that happens to the simulated world. Nodes by their names. */
export type Act =
  | { readonly act: 'partition'; readonly groups: readonly (readonly string[])[] }
  | { readonly act: 'cut'; readonly from: readonly string[]; readonly to: readonly string[] }
  | { readonly act: 'repair' }
  | { readonly act: 'loss'; readonly share: number; readonly from?: string }
  | { readonly act: 'delay'; readonly ms: number }
  | { readonly act: 'duplicate' | 'reorder'; readonly share: number }
  | { readonly act: 'mdns'; readonly works: boolean }
  | { readonly act: 'freeze'; readonly node: string; readonly forMs?: number }
  | { readonly act: 'bounce'; readonly node: string; readonly downMs: number }
  | { readonly act: 'skew'; readonly node: string; readonly byMs: number }
  | { readonly act: NodeVerb; readonly node: string }
  | { readonly act: 'reload'; readonly node: string; readonly file?: string }
  | { readonly act: 'exit'; readonly node: string; readonly unit: string; readonly code: number }
  | { readonly act: 'sick' | 'well'; readonly node: string; readonly unit: string }

/** What happens when. */
export interface Step {
  readonly atMs: number
  readonly what: Act
}

export interface Script {
  /** How long is simulated. */
  readonly forMs: number
  /** In order of time. */
  readonly steps: readonly Step[]
  readonly behaviours: ReadonlyMap<string, Behaviour>
}

const name = z.string().min(1)
const names = z.union([name.transform((one) => [one]), z.array(name).min(1)])

/** `1h`, or `-1h` for the other way. */
const offset = z
  .string()
  .transform((text) => ({ sign: text.startsWith('-') ? -1 : 1, text: text.replace(/^-/, '') }))
  .pipe(z.object({ sign: z.number(), text: duration }).transform(({ sign, text }) => sign * text))

const nodeOr = <Shape extends z.ZodRawShape>(shape: Shape) =>
  z.union([name.transform((node) => ({ node })), z.strictObject({ node: name, ...shape })])

const at = z.strictObject({ unit: name, node: name })

/** How long a host is down that bounces. */
const BOUNCE_MS = 2_000

/** The verbs of a script: what may stand beside `at` in a step. */
const VERBS = {
  partition: z
    .union([
      z
        .array(name)
        .min(1)
        .transform((group) => [group]),
      z.array(z.array(name).min(1)).min(1),
    ])
    .transform((groups): Act => ({ act: 'partition', groups })),
  cut: z.strictObject({ from: names, to: names }).transform((ends): Act => ({ act: 'cut', ...ends })),
  repair: z.literal('all').transform((): Act => ({ act: 'repair' })),
  loss: z
    .union([percentage.transform((share) => ({ share })), z.strictObject({ share: percentage, from: name })])
    .transform((loss): Act => ({ act: 'loss', ...loss })),
  delay: duration.transform((ms): Act => ({ act: 'delay', ms })),
  duplicate: percentage.transform((share): Act => ({ act: 'duplicate', share })),
  reorder: percentage.transform((share): Act => ({ act: 'reorder', share })),
  mdns: z.enum(['silent', 'heard']).transform((how): Act => ({ act: 'mdns', works: how === 'heard' })),
  freeze: nodeOr({ for: duration.optional() }).transform(
    (given): Act => ({
      ...{ act: 'freeze', node: given.node },
      ...('for' in given && given.for !== undefined && { forMs: given.for }),
    }),
  ),
  thaw: name.transform((node): Act => ({ act: 'thaw', node })),
  skew: z.strictObject({ node: name, by: offset }).transform(({ node, by }): Act => ({ act: 'skew', node, byMs: by })),
  crash: name.transform((node): Act => ({ act: 'crash', node })),
  bounce: nodeOr({ down: duration.optional() }).transform(
    (given): Act => ({
      act: 'bounce',
      node: given.node,
      downMs: ('down' in given ? given.down : undefined) ?? BOUNCE_MS,
    }),
  ),
  kill: name.transform((node): Act => ({ act: 'kill', node })),
  start: name.transform((node): Act => ({ act: 'start', node })),
  stop: name.transform((node): Act => ({ act: 'stop', node })),
  new_ip: name.transform((node): Act => ({ act: 'new_ip', node })),
  disk_full: name.transform((node): Act => ({ act: 'disk_full', node })),
  disk_free: name.transform((node): Act => ({ act: 'disk_free', node })),
  reload: nodeOr({ file: name.optional() }).transform(
    (given): Act => ({
      ...{ act: 'reload', node: given.node },
      ...('file' in given && given.file !== undefined && { file: given.file }),
    }),
  ),
  exit: z
    .strictObject({ unit: name, node: name, code: z.number().int().min(0).max(255).default(1) })
    .transform((what): Act => ({ act: 'exit', ...what })),
  sick: at.transform((what): Act => ({ act: 'sick', ...what })),
  well: at.transform((what): Act => ({ act: 'well', ...what })),
}

const verbs = Object.fromEntries(Object.entries(VERBS).map(([verb, schema]) => [verb, schema.optional()])) as {
  [Verb in keyof typeof VERBS]: z.ZodOptional<(typeof VERBS)[Verb]>
}

const step = z.strictObject({ at: duration, ...verbs }).transform(({ at: atMs, ...rest }, context): Step => {
  const acts = Object.values(rest).filter((act) => act !== undefined)
  const [what] = acts
  if (what !== undefined && acts.length === 1) return { atMs, what }
  context.addIssue({ code: 'custom', message: `names ${acts.length} things to do; write exactly one of ${VERB_NAMES}` })
  return z.NEVER
})

const VERB_NAMES = Object.keys(VERBS).join(', ')

const behaviour = z
  .strictObject({
    ready_after: duration.optional(),
    ends_after: duration.optional(),
    code: z.number().int().min(0).max(255).optional(),
    stubborn: z.boolean().optional(),
    services: z.array(name).optional(),
    says: z.string().optional(),
  })
  .transform(
    ({ ready_after, ends_after, ...rest }): Behaviour => ({
      ...{ readyAfterMs: ready_after, endsAfterMs: ends_after },
      ...rest,
    }),
  )

const file = z.strictObject({
  version: z.literal(1),
  for: duration.default(60_000),
  units: z.record(name, behaviour).default({}),
  steps: z.array(step).default([]),
})

/** Reads a script. @throws HsuError CONFIG_INVALID naming every fault with its line */
export function parseScript(text: string, path: string): Script {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines })
  const [syntax] = document.errors
  if (syntax !== undefined) {
    const { line, col } = lines.linePos(syntax.pos[0])
    throw invalid([`${path}:${line}:${col}: ${syntax.message.split('\n')[0] ?? ''}`])
  }
  const parsed = file.safeParse(document.toJS() ?? {})
  if (!parsed.success) {
    throw invalid(
      parsed.error.issues.map((issue) => {
        const place = lineOf(document.contents, issue.path, lines)
        const where = issue.path.length === 0 ? '' : ` ${issue.path.join('.')}:`
        return `${path}:${place}:${where} ${wordsOf(issue)}`
      }),
    )
  }
  const { for: forMs, units, steps } = parsed.data
  return {
    forMs,
    steps: steps.toSorted((one, other) => one.atMs - other.atMs),
    behaviours: new Map(Object.entries(units)),
  }
}

function wordsOf(issue: z.core.$ZodIssue): string {
  if (issue.code === 'unrecognized_keys') return `unknown key ${issue.keys.join(', ')}`
  return issue.message
}

function invalid(faults: readonly string[]): HsuError {
  return new HsuError('CONFIG_INVALID', faults.join('\n'), { details: { faults: faults.length } })
}

/** The line of the innermost part of a path that is there. */
function lineOf(root: ParsedNode | null, path: readonly PropertyKey[], lines: LineCounter): number {
  let found: unknown = root
  let offset = root?.range[0] ?? 0
  for (const key of path) {
    if (isMap<ParsedNode, ParsedNode>(found)) {
      const pair = found.items.find((item) => isScalar(item.key) && item.key.value === key)
      if (pair === undefined) break
      offset = pair.key.range[0]
      found = pair.value
    } else {
      const next: unknown = (found as { get?: (key: unknown, keep: boolean) => unknown } | undefined)?.get?.(key, true)
      if (next === undefined) break
      found = next
      offset = (found as Partial<ParsedNode>).range?.[0] ?? offset
    }
  }
  return lines.linePos(offset).line
}
