import { dirname, isAbsolute, relative, resolve, sep } from 'node:path'
import { messageOf, systemCode } from '../../base/error.ts'
import { parseDotenv } from './dotenv.ts'
import { type LoadOther, resolveExtends } from './extends.ts'
import type { Report } from './fault.ts'
import type { Variables } from './interpolate.ts'
import { parseTree } from './parse.ts'
import { type MapTree, mergeTrees, type Tree } from './tree.ts'

export interface ConfigSources {
  /** As given with `-f`, in order, the last winning; empty = `hsu.yaml`, else `hsu.yml`, in `cwd`. */
  readonly files: readonly string[]
  /** The environment: for `${NAME}`, and for the variables that overrule keys. */
  readonly env: Variables
  /** The absolute directory that relative file names start from. */
  readonly cwd: string
}

/** The text of the file at an absolute path; rejects with a system error (`ENOENT`, ...). */
export type ReadFile = (path: string) => Promise<string>

const DEFAULT_NAMES = ['hsu.yaml', 'hsu.yml'] as const

type Content = { readonly text: string } | { readonly missing: string; readonly absent: boolean }

/** Reads the files of one configuration and remembers which they were. */
export class ConfigFiles {
  readonly #sources: ConfigSources
  readonly #readFile: ReadFile
  readonly #report: Report
  readonly #others = new Map<string, Tree | undefined>()
  readonly #read = new Set<string>()
  #variables: Variables = {}
  #baseDir: string

  constructor(sources: ConfigSources, readFile: ReadFile, report: Report) {
    this.#sources = sources
    this.#readFile = readFile
    this.#report = report
    this.#baseDir = sources.cwd
  }

  /** Absolute paths of what was read, in order. */
  get paths(): readonly string[] {
    return [...this.#read]
  }

  /** The same as messages show them. */
  get shown(): readonly string[] {
    return this.paths.map((path) => this.#show(path))
  }

  /** The directory of the first file, absolute. */
  get baseDir(): string {
    return this.#baseDir
  }

  /** The files merged; undefined, with the faults reported, when one of them cannot be read or has no valid syntax. */
  async merged(): Promise<MapTree | undefined> {
    const { files } = this.#sources
    const paths = files.length === 0 ? await this.#defaultFile() : files.map((file) => this.#full(file))
    this.#baseDir = dirname(paths[0] ?? this.#full('hsu.yaml'))
    this.#variables = { ...(await this.#dotenv()), ...this.#sources.env }
    const trees = await Promise.all(paths.map((path) => this.#givenFile(path)))
    const good = trees.filter((tree) => tree !== undefined)
    if (good.length < trees.length) return undefined
    const [first, ...rest] = good
    // Each is a map, and maps merge to a map.
    return first === undefined ? undefined : (rest.reduce<Tree>(mergeTrees, first) as MapTree)
  }

  /** `tree` with each `extends` resolved. */
  extended(tree: MapTree): Promise<MapTree> {
    const load: LoadOther = async (file, { place, path }) => {
      const full = resolve(dirname(this.#full(place.source)), file)
      if (!this.#others.has(full)) {
        const content = await this.#content(full)
        const known = 'text' in content ? this.#parse(full, content.text) : undefined
        if ('missing' in content) this.#report({ place, path, text: `cannot read ${file}: ${content.missing}` })
        this.#others.set(full, known)
      }
      const other = this.#others.get(full)
      return other === undefined ? undefined : { source: this.#show(full), tree: other }
    }
    return resolveExtends(tree, load, this.#report)
  }

  async #defaultFile(): Promise<readonly string[]> {
    for (const name of DEFAULT_NAMES) {
      const content = await this.#content(this.#full(name))
      if ('text' in content || !content.absent) return [this.#full(name)]
    }
    const place = { source: DEFAULT_NAMES[0], line: 0, column: 0 }
    this.#report({ place, path: [], text: `no such file in ${this.#sources.cwd}; write one, or name a file with -f` })
    return []
  }

  async #givenFile(path: string): Promise<MapTree | undefined> {
    const content = await this.#content(path)
    if ('text' in content) return this.#parse(path, content.text)
    const place = { source: this.#show(path), line: 0, column: 0 }
    const advice = content.absent ? '; check the name given with -f' : ''
    this.#report({ place, path: [], text: `cannot read it: ${content.missing}${advice}` })
    return undefined
  }

  async #dotenv(): Promise<Variables> {
    const path = resolve(this.#baseDir, '.env')
    const content = await this.#content(path)
    const source = this.#show(path)
    if ('text' in content) return parseDotenv(content.text, source, this.#report)
    const place = { source, line: 0, column: 0 }
    if (!content.absent) this.#report({ place, path: [], text: `cannot read it: ${content.missing}` })
    return {}
  }

  #parse(path: string, text: string): MapTree | undefined {
    const source = this.#show(path)
    const tree = parseTree(text, source, this.#variables, this.#report)
    if (tree === undefined) return undefined
    if (tree.kind === 'map') {
      const entries = [...tree.entries].filter(([key]) => !key.startsWith('x-'))
      return { ...tree, entries: new Map(entries) }
    }
    this.#report({ place: tree.place, path: [], text: 'must be a map of version, node, mesh and units' })
    return undefined
  }

  async #content(path: string): Promise<Content> {
    try {
      const text = await this.#readFile(path)
      this.#read.add(path)
      return { text }
    } catch (error) {
      const code = systemCode(error)
      return { missing: (code !== undefined && WHY[code]) || messageOf(error), absent: code === 'ENOENT' }
    }
  }

  #full(path: string): string {
    return resolve(this.#sources.cwd, path)
  }

  #show(path: string): string {
    const short = relative(this.#sources.cwd, path)
    return short === '..' || short.startsWith(`..${sep}`) || isAbsolute(short) ? path : short
  }
}

const WHY: Readonly<Record<string, string>> = {
  ENOENT: 'no such file',
  EISDIR: 'it is a directory',
  EACCES: 'permission denied',
  ENOTDIR: 'part of the path is not a directory',
}
