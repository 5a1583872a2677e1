import { Document, isCollection, isMap, isScalar, Scalar, visit } from 'yaml'
import { conceal } from './conceal.ts'
import { escapeDollars } from './interpolate.ts'
import type { LoadedConfig } from './load.ts'
import { formatPath, type Path } from './place.ts'

/** What `hsu config show` prints. */
export interface ConfigDescription {
  /** The effective configuration with the origin of each value as a comment; loads again to the same, save what is hidden. */
  readonly yaml: string
  /** The same for programs. */
  readonly json: {
    readonly config: Readonly<Record<string, unknown>>
    /** `hsu.yaml:12:5`, `env HSU_DATA_DIR` or `default`, by dotted key. */
    readonly origins: Readonly<Record<string, string>>
    readonly warnings: readonly string[]
    readonly files: readonly string[]
  }
}

/** The effective configuration: everything that was written, and every default, in the words of the file. */
export function describeConfig(loaded: LoadedConfig): ConfigDescription {
  const { origins, warnings, files } = loaded
  const effective = conceal(loaded.effective)
  return {
    yaml: toYaml(effective, origins),
    json: { config: effective, origins: Object.fromEntries(origins), warnings, files },
  }
}

function toYaml(effective: unknown, origins: ReadonlyMap<string, string>): string {
  const document = new Document(effective, { aliasDuplicateObjects: false })
  document.contents = annotate(document.contents, [], origins)
  visit(document, { Scalar: (_, node) => writeSafely(node) })
  return document.toString({ lineWidth: 0, flowCollectionPadding: true })
}

/** Puts the origins behind the values; a list of plain values stays on one line. */
function annotate<N>(node: N, path: Path, origins: ReadonlyMap<string, string>): N {
  const origin = origins.get(formatPath(path))
  if (isScalar(node)) node.comment = ` ${origin ?? 'default'}`
  else if (isMap(node) && node.items.length > 0) {
    for (const { key, value } of node.items)
      annotate(value, [...path, String(isScalar(key) ? key.value : key)], origins)
  } else if (isCollection(node)) {
    const plain = node.items.every((item) => isScalar(item))
    node.flow = plain
    if (plain) node.comment = ` ${origin ?? 'default'}`
    else for (const [index, item] of node.items.entries()) annotate(item, [...path, index], origins)
  }
  return node
}

/** Text that would change in another reading is quoted, on one line; dollars are escaped. */
function writeSafely(node: Scalar): void {
  if (typeof node.value !== 'string') return
  node.value = escapeDollars(node.value)
  if (/[\n\r\t]|^\s|\s$/.test(node.value as string)) node.type = Scalar.QUOTE_DOUBLE
}
