import {
  Composer,
  type CST,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  Parser,
} from 'yaml'
import type { Report } from './fault.ts'
import { coreScalar, interpolate, type Variables } from './interpolate.ts'
import type { Path, Place } from './place.ts'
import type { Entry, ListTree, MapTree, ScalarTree, Tree } from './tree.ts'

/** Far above any real file; a larger one is a mistake (a log, a dump), and would take minutes to complain about. */
const MAX_CHARS = 1_048_576

/** The YAML library recurses, and a node that runs out of stack inside it dies without a word (seen with 100,000 `[`). */
const MAX_DEPTH = 64

/** Aliases can multiply a small file into a huge one ("billion laughs"). */
const MAX_VALUES = 100_000

/**
 * Reads one YAML 1.2 file, fills in its variables, and keeps the place of everything.
 * Undefined when the syntax is so wrong that the content cannot be trusted; all of that is reported.
 * An empty file is an empty map.
 */
export function parseTree(text: string, source: string, variables: Variables, report: Report): Tree | undefined {
  const whole: Place = { source, line: 1, column: 1 }
  if (text.length > MAX_CHARS) {
    report({ place: whole, path: [], text: `is larger than ${MAX_CHARS} characters; is this the right file?` })
    return undefined
  }
  const lines = new LineCounter()
  const placeAt = (offset: number): Place => {
    const { line, col } = lines.linePos(offset)
    return { source, line: Math.max(1, line), column: Math.max(1, col) }
  }
  const tokens = [...new Parser(lines.addNewLine).parse(text)]
  const deep = tooDeep(tokens)
  if (deep !== undefined) {
    report({ place: placeAt(deep), path: [], text: `is nested more than ${MAX_DEPTH} levels deep` })
    return undefined
  }
  const [document, second] = [
    ...new Composer({ prettyErrors: false, uniqueKeys: false }).compose(tokens, true, text.length),
  ]
  if (second !== undefined) {
    const place = placeAt(second.range[0])
    report({ place, path: [], text: 'a second YAML document begins here; a configuration is one document' })
    return undefined
  }
  if (document === undefined) return { kind: 'map', place: whole, entries: new Map() }
  if (!syntaxOk(document, text, placeAt, report)) return undefined
  if (document.contents === null) return { kind: 'map', place: whole, entries: new Map() }
  return new Reader(document, placeAt, variables, report).read(document.contents, [])
}

function syntaxOk(document: Document.Parsed, text: string, placeAt: (at: number) => Place, report: Report): boolean {
  const seen = new Set<number>()
  for (const { code, message, pos } of [...document.errors, ...document.warnings]) {
    const place = placeAt(pos[0])
    // One slip makes the parser stumble several times on the same line; the first stumble says it best.
    if (seen.has(place.line)) continue
    seen.add(place.line)
    const line = text.split('\n', place.line).at(-1) ?? ''
    const known = code === 'TAG_RESOLVE_FAILED' ? 'tags such as !name have no meaning here' : undefined
    const hint = /[[{].*\$\{/.test(line) ? '; a variable inside { } or [ ] must be quoted: "${NAME}"' : ''
    report({ place, path: [], text: `${known ?? lowerFirst(message)}${hint}` })
  }
  return seen.size === 0
}

function lowerFirst(message: string): string {
  return message.charAt(0).toLowerCase() + message.slice(1)
}

/** The offset of the first value below the allowed depth. Walks without recursion, as the parser does. */
function tooDeep(tokens: readonly CST.Token[]): number | undefined {
  const stack: { token: CST.Token; depth: number }[] = tokens.map((token) => ({ token, depth: 0 }))
  for (let top = stack.pop(); top !== undefined; top = stack.pop()) {
    const { token, depth } = top
    if (depth > MAX_DEPTH) return token.offset
    const children =
      token.type === 'document'
        ? [token.value]
        : 'items' in token
          ? token.items.flatMap((item) => [item.key, item.value])
          : []
    for (const child of children)
      if (child !== undefined && child !== null) stack.push({ token: child, depth: depth + 1 })
  }
  return undefined
}

/** Turns the nodes of one document into a tree. A class because a document is read with one budget of values. */
class Reader {
  readonly #document: Document.Parsed
  readonly #placeAt: (offset: number) => Place
  readonly #variables: Variables
  readonly #report: Report
  readonly #open = new Set<Node>()
  #values = 0

  constructor(document: Document.Parsed, placeAt: (at: number) => Place, variables: Variables, report: Report) {
    this.#document = document
    this.#placeAt = placeAt
    this.#variables = variables
    this.#report = report
  }

  read(node: Node, path: Path): Tree {
    this.#values += 1
    if (this.#values === MAX_VALUES)
      this.#fault(node, path, `holds more than ${MAX_VALUES} values; is an alias repeated?`)
    if (this.#values >= MAX_VALUES) return this.#nothing(node)
    if (isAlias(node)) return this.#readAlias(node, path)
    if (isMap(node)) return this.#readMap(node, path)
    if (isSeq(node)) return this.#readList(node, path)
    return this.#readScalar(node)
  }

  #readAlias(alias: Node & { source: string }, path: Path): Tree {
    const target = isAlias(alias) ? alias.resolve(this.#document) : undefined
    if (target === undefined) this.#fault(alias, path, `no anchor &${alias.source} before this alias`)
    else if (this.#open.has(target)) this.#fault(alias, path, `alias *${alias.source} is inside its own anchor`)
    else return this.#reading(target, path)
    return this.#nothing(alias)
  }

  #reading(node: Node, path: Path): Tree {
    this.#open.add(node)
    const tree = this.read(node, path)
    this.#open.delete(node)
    return tree
  }

  #readMap(node: Node & { items: readonly unknown[] }, path: Path): MapTree {
    const entries = new Map<string, Entry>()
    const merged: MapTree[] = []
    this.#open.add(node)
    for (const pair of node.items as readonly { key: Node | null; value: Node | null }[]) {
      const key = this.#keyOf(pair.key, node, path)
      if (key === undefined || pair.key === null) continue
      const value = pair.value === null ? this.#nothing(pair.key) : this.read(pair.value, [...path, key])
      const known = entries.get(key)
      if (key === '<<') merged.push(...this.#mergedMaps(value, pair.key, path))
      else if (known !== undefined) {
        const first = `the first is at line ${known.keyPlace.line}`
        this.#fault(pair.key, [...path, key], `is there twice; ${first}; rename or remove one`)
      } else entries.set(key, { keyPlace: this.#place(pair.key), value })
    }
    this.#open.delete(node)
    for (const map of merged) {
      for (const [key, entry] of map.entries) if (!entries.has(key)) entries.set(key, entry)
    }
    return { kind: 'map', place: this.#place(node), entries }
  }

  /** YAML 1.1's merge key, which compose files use: `<<: *common` or `<<: [*a, *b]`; own keys win, then the earlier. */
  #mergedMaps(value: Tree, key: Node, path: Path): readonly MapTree[] {
    const maps = value.kind === 'list' ? value.items : [value]
    const good = maps.filter((map) => map.kind === 'map')
    if (good.length < maps.length) this.#fault(key, [...path, '<<'], 'must be a map, or a list of maps')
    return good
  }

  #keyOf(key: Node | null, map: Node, path: Path): string | undefined {
    if (isScalar(key)) return typeof key.value === 'string' ? key.value : (key.source ?? String(key.value))
    this.#fault(key ?? map, path, 'a key must be plain text')
    return undefined
  }

  #readList(node: Node & { items: readonly unknown[] }, path: Path): ListTree {
    this.#open.add(node)
    const items = node.items.map((item, index) => this.read(item as Node, [...path, index]))
    this.#open.delete(node)
    return { kind: 'list', place: this.#place(node), items }
  }

  #readScalar(node: Node): ScalarTree {
    if (!isScalar(node)) return this.#nothing(node)
    const quoted = node.type !== 'PLAIN'
    const written = typeof node.value === 'string' ? node.value : (node.source ?? String(node.value))
    const { text, changed, faults } = interpolate(written, this.#variables)
    const value = !changed ? typed(node.value) : quoted || text === '' ? text : coreScalar(text)
    return { kind: 'scalar', place: this.#place(node), value, source: text, written, quoted, faults }
  }

  #nothing(node: Node): ScalarTree {
    const place = this.#place(node)
    return { kind: 'scalar', place, value: undefined, source: '', written: '', quoted: false, faults: [] }
  }

  #fault(node: Node, path: Path, text: string): void {
    this.#report({ place: this.#place(node), path, text })
  }

  #place(node: Node): Place {
    return this.#placeAt(node.range?.[0] ?? 0)
  }
}

function typed(value: unknown): ScalarTree['value'] {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? value : undefined
}
