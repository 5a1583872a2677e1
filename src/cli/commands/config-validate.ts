import type { Command } from '../command.ts'
import { configFiles, FILE_OPTION } from '../config-files.ts'

export const configValidateCommand: Command = {
  name: 'config validate',
  summary: 'check configuration files; names every fault with its line and exits 2 when there is one',
  args: [{ name: 'file', summary: 'the same as -f', required: false, many: true }],
  options: [FILE_OPTION],
  json: '{valid: true, files: [], units: [], warnings: []}; faults go to stderr',

  async run(input, context) {
    const named = [...input.args, ...configFiles(input)]
    const { config, warnings, files } = await (await context.local()).describeConfig(named)
    const units = Object.keys((config as { units?: object }).units ?? {})
    for (const warning of warnings) context.output.note(`warning: ${warning}`)
    const value = { valid: true, files, units, warnings }
    await context.output.print(
      value,
      () => `${files.join(', ')}: ok, ${units.length} ${units.length === 1 ? 'unit' : 'units'}`,
    )
    return undefined
  },
}
