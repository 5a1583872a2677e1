import { HsuError } from '../../base/error.ts'
import type { Command, CommandContext, Input } from '../command.ts'
import { configFiles, FILE_OPTION } from '../config-files.ts'
import { readOptions } from '../control.ts'
import type { KnownConfig } from '../local-node.ts'
import type { Style } from '../style.ts'

export const configShowCommand: Command = {
  name: 'config show',
  summary: 'show the configuration in force and where each value comes from',
  description: 'Of the running node; with -f, or when none runs, of files.',
  args: [],
  options: [FILE_OPTION],
  json: '{config: {}, origins: {DOTTED.KEY: "FILE:LINE:COLUMN", "env NAME" or "default"}}',

  async run(input, context) {
    const { config, origins, yaml } = await find(input, context)
    await context.output.print({ config, origins }, (value, style) => yaml?.trimEnd() ?? show(value, style))
    return undefined
  },
}

/** The YAML is known only of files; of a running node, the values. */
type ShownConfig = Pick<KnownConfig, 'config' | 'origins'> & Partial<Pick<KnownConfig, 'yaml'>>

async function find(input: Input, context: CommandContext): Promise<ShownConfig> {
  const fromFiles = async (): Promise<ShownConfig> => {
    const known = await (await context.local()).describeConfig(configFiles(input))
    for (const warning of known.warnings) context.output.note(`warning: ${warning}`)
    return known
  }
  if (configFiles(input).length > 0) return fromFiles()
  try {
    const { configJson, origins } = await (await context.client()).getConfig({}, readOptions(context))
    return { config: JSON.parse(configJson) as unknown, origins }
  } catch (error) {
    if (error instanceof HsuError && error.reason === 'NOT_STARTED') return fromFiles()
    throw error
  }
}

/** One line a value, `units.api.replicas: 2  # hsu.yaml:14`, in the order of the configuration. */
function show({ config, origins }: ShownConfig, style: Style): string {
  const lines = leaves(config, '').map(([key, value]) => {
    const origin = originOf(key, origins)
    const comment = origin === undefined ? '' : style.faint(`  # ${origin}`)
    return `${key}: ${JSON.stringify(value)}${comment}`
  })
  return lines.join('\n')
}

/** Where the value comes from; inside a value that was written as one, where that was. */
function originOf(key: string, origins: Readonly<Record<string, string>>): string | undefined {
  for (let at = key; at !== ''; at = at.slice(0, Math.max(0, at.lastIndexOf('.')))) {
    const origin = origins[at]
    if (origin !== undefined) return origin
  }
  return undefined
}

function leaves(value: unknown, path: string): [key: string, value: unknown][] {
  const isMap = typeof value === 'object' && value !== null && !Array.isArray(value)
  if (!isMap || Object.keys(value).length === 0) return path === '' ? [] : [[path, value]]
  return Object.entries(value).flatMap(([key, inner]) => leaves(inner, path === '' ? key : `${path}.${key}`))
}
