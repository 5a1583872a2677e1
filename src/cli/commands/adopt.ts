import { writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { HsuError, messageOf, systemCode } from '../../base/error.ts'
import type { Command } from '../command.ts'
import { readOptions } from '../control.ts'
import { text } from '../options.ts'
import { locate, parseUnitNames } from '../target.ts'

export const adoptCommand: Command = {
  name: 'adopt',
  summary: 'write the configuration by which a node would run the process of an unmanaged unit itself',
  description:
    'Program, arguments, working directory, environment, user and ports are read from the system. What looks like a secret ' +
    'is left out and named. The process itself is not touched: end it before the unit is started. Without --out the file ' +
    'goes to stdout; a file is never overwritten.',
  args: [{ name: 'unit', summary: 'UNIT, or UNIT@NODE for a certain node', required: true, choices: 'units' }],
  options: [{ flags: '--out <file>', summary: 'where to put the configuration' }],
  json: '{yaml, notes: [], file}; file is null without --out',
  examples: ['hsu adopt pg --out pg.yaml', 'hsu config validate pg.yaml'],

  async run({ args, options }, context) {
    const [name] = parseUnitNames(args, context)
    const [target] = name === undefined ? [] : await locate(name, context)
    if (target === undefined) throw new HsuError('USAGE', 'name the unit: hsu adopt UNIT')
    const client = await context.client()
    const { yaml, notes } = await client.adoptUnit({ unit: target.unit }, readOptions(context, target.node))
    const out = text(options, 'out')
    const file = out === undefined ? undefined : resolve(context.cwd, out)
    // It tells how a program is run here, which is not for everybody to read.
    if (file !== undefined) await writeFile(file, yaml, { mode: 0o600, flag: 'wx' }).catch(cannotWrite(file))
    for (const note of notes) context.output.note(`note: ${note}`)
    const value = { yaml, notes, file: file ?? null }
    await context.output.print(value, () => (file === undefined ? yaml.trimEnd() : `wrote ${file}`))
    return undefined
  },
}

function cannotWrite(file: string): (error: unknown) => never {
  return (error) => {
    const why = systemCode(error) === 'EEXIST' ? 'there is such a file already; choose another' : messageOf(error)
    throw new HsuError('USAGE', `cannot write ${file}: ${why}`, { cause: error, details: { file } })
  }
}
