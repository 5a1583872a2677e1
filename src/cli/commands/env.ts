import { HsuError } from '../../base/error.ts'
import type { Command, CommandContext } from '../command.ts'
import { kindName, readOptions } from '../control.ts'
import { nameOf, parseUnitNames, type UnitName } from '../target.ts'

type Environment = Readonly<Record<string, string>>

export const envCommand: Command = {
  name: 'env',
  summary: 'print the environment by which programs and units know of the node, for a shell to take over',
  description:
    'Without a unit: what any program on the host of the node needs to call units and the node. With a unit: what the node adds to the ' +
    'environment of its first instance; neither what the unit inherits nor what its `env` says, where secrets may be.',
  args: [{ name: 'unit', summary: 'UNIT, or UNIT@NODE for a certain node', required: false, choices: 'units' }],
  options: [],
  json: '{NAME: value}',
  examples: ['eval "$(hsu env)" && ./client xds:///shop.v1.Orders', 'hsu env orders'],

  async run({ args }, context) {
    const [name] = parseUnitNames(args, context)
    const environment = name === undefined ? await ofProgram(context) : await ofUnit(name, context)
    const names = Object.keys(environment).sort()
    const sorted = Object.fromEntries(names.map((name) => [name, environment[name] ?? '']))
    await context.output.print(sorted, shellExports)
    return undefined
  },
}

/** Lines that set and export the variables in any POSIX shell. Names that no shell takes are left out. */
export function shellExports(environment: Environment): string {
  return Object.entries(environment)
    .filter(([name]) => /^[A-Za-z_]\w*$/.test(name))
    .map(([name, value]) => `export ${name}='${value.replaceAll("'", "'\\''")}'`)
    .join('\n')
}

async function ofProgram(context: CommandContext): Promise<Environment> {
  const client = await context.client()
  const { node, environment } = await client.getNode({}, readOptions(context))
  if (Object.keys(environment).length > 0) return environment
  throw notTold(node?.node ?? 'that was asked')
}

async function ofUnit(name: UnitName, context: CommandContext): Promise<Environment> {
  const client = await context.client()
  const { instances, environment } = await client.describeUnit({ unit: name.unit }, readOptions(context, name.node))
  if (Object.keys(environment).length > 0) return environment
  const [first] = instances
  if (first !== undefined && kindName(first.kind) === 'unmanaged') {
    throw new HsuError('UNIT_NOT_MANAGED', `${nameOf(name)} is unmanaged: the node adds nothing to its environment`)
  }
  if (first !== undefined && instances.some(({ instance }) => instance !== '')) throw notTold(first.node)
  const advice = `start it with 'hsu start ${nameOf(name)}'`
  throw new HsuError('NOT_STARTED', `${nameOf(name)} has not been started, so it has no environment yet; ${advice}`)
}

function notTold(node: string): HsuError {
  return new HsuError('UNSUPPORTED', `node ${node} is of a version that does not tell its environment; upgrade it`)
}
