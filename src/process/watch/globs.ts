import { resolve } from 'node:path'
import picomatch from 'picomatch'

/** Directories of tools, which change all the time and of which no program is made. */
const ALWAYS_IGNORED = ['**/.git', '**/node_modules']

/** Which files a list of globs means. */
export interface FileSet {
  /** Where to look: the part of each glob before its first wildcard, absolute. */
  readonly roots: readonly string[]
  /** Whether nothing at this path and below it, absolute, is one of them. */
  readonly isIgnored: (path: string) => boolean
  /** Whether a file, absolute, is one of them. What has no wildcard stands for itself and for all that is below it. */
  readonly has: (path: string) => boolean
}

/**
 * The files that `paths` name, without those of `ignore`. Relative globs start in `directory`; `**` stands for any
 * number of directories; hidden files are files like any other.
 */
export function fileSet(directory: string, paths: readonly string[], ignore: readonly string[]): FileSet {
  const wanted = paths.map((glob) => placed(directory, glob))
  const roots = [...new Set(wanted.map(({ root }) => root))]
  // What is ignored by a name at any depth is so below each root, wherever that is.
  const unwanted = [...ALWAYS_IGNORED, ...ignore].flatMap((glob) =>
    (glob.startsWith('**') ? roots : [directory]).map((base) => placed(base, glob)),
  )
  const isWanted = matcher(wanted)
  const isIgnored = matcher(unwanted)
  return { roots, isIgnored, has: (path) => isWanted(path) && !isIgnored(path) }
}

interface Placed {
  readonly root: string
  readonly pattern: string
}

/** A glob with the directory that it starts in, which may itself hold characters that would be wildcards. */
function placed(directory: string, glob: string): Placed {
  const { base, glob: wild } = picomatch.scan(glob)
  const root = resolve(directory, base)
  const literal = root === '/' ? '' : root.replaceAll(/[\\*?[\]{}()!+@|]/g, '\\$&')
  return { root, pattern: wild === '' ? literal : `${literal}/${wild}` }
}

function matcher(globs: readonly Placed[]): (path: string) => boolean {
  return picomatch(
    globs.flatMap(({ pattern }) => [pattern, `${pattern.replace(/\/+$/, '')}/**`]),
    { dot: true },
  )
}
