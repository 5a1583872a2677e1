import type { Command } from '../command.ts'

export const configSchemaCommand: Command = {
  name: 'config schema',
  summary: 'print the JSON Schema of the configuration file, for editors',
  description: 'Put `# yaml-language-server: $schema=FILE` at the top of hsu.yaml to have it checked while typing.',
  args: [],
  options: [],
  json: 'the JSON Schema; without -o json the same',

  async run(_input, context) {
    const schema = (await context.local()).configSchema()
    await context.output.print(schema, (value) => JSON.stringify(value, undefined, 2))
    return undefined
  },
}
