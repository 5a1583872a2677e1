/** A position in a source: a file, or an environment variable (then `line` is 0). Lines and columns count from 1. */
export interface Place {
  readonly source: string
  readonly line: number
  readonly column: number
}

/** The way from the root of a configuration to one of its values. */
export type Path = readonly (string | number)[]

/** `hsu.yaml:12:5`, or `env HSU_DATA_DIR` for what has no lines. */
export function formatPlace({ source, line, column }: Place): string {
  return line === 0 ? source : `${source}:${line}:${column}`
}

/** `units.api.run[0]`; a name that would be misread is put in quotes: `node.labels["example.org/zone"]`. */
export function formatPath(path: Path): string {
  let text = ''
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`
    else if (!/^[\w-]+$/.test(step)) text += `[${JSON.stringify(step)}]`
    else text += text === '' ? step : `.${step}`
  }
  return text
}
