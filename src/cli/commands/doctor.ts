import { HsuError } from '../../base/error.ts'
import type { Command, CommandContext } from '../command.ts'
import { readOptions } from '../control.ts'
import { checkHost, type HostCheck } from '../host-checks.ts'
import { paintState, type Style } from '../style.ts'
import { table } from '../table.ts'

export const doctorCommand: Command = {
  name: 'doctor',
  summary: 'test this host and, if one runs, its node; exits 1 when something failed',
  description: 'With --node, tests that node only.',
  args: [],
  options: [],
  json: '[{name, result, message}]; result ok, warning or failed',

  async run(_input, context) {
    const ofNode = await checkNode(context)
    const ofHost = context.global.node === undefined ? await checkThisHost(ofNode !== undefined, context) : []
    const checks = [...ofHost, ...(ofNode ?? [])]
    await context.output.print(checks, show)
    return checks.some(({ result }) => result === 'failed') ? 1 : 0
  },
}

async function checkThisHost(nodeRuns: boolean, context: CommandContext): Promise<HostCheck[]> {
  const local = await context.local()
  const paths = local.resolvePaths(context.global.dataDir)
  const { env, clock } = context
  const { platform, versions } = process
  const checks = await checkHost({ nodeVersion: versions.node, platform, env, paths, wallMs: clock.wallMs(), nodeRuns })
  // A node that runs tells of them itself.
  return nodeRuns ? checks : [...checks, ...(await local.checkLimits())]
}

/** What the node says of itself; undefined when none runs here. */
async function checkNode(context: CommandContext): Promise<HostCheck[] | undefined> {
  try {
    const { checks } = await (await context.client()).diagnose({}, readOptions(context))
    return checks.map(({ name, result, message }) => ({ name: `node: ${name}`, result: asResult(result), message }))
  } catch (error) {
    if (error instanceof HsuError && error.reason === 'NOT_STARTED') return undefined
    throw error
  }
}

function asResult(text: string): HostCheck['result'] {
  return text === 'ok' || text === 'warning' ? text : 'failed'
}

function show(checks: readonly HostCheck[], style: Style): string {
  const columns = [
    { title: 'RESULT', cell: ({ result }: HostCheck, paint: Style) => paintState(result, paint) },
    { title: 'CHECK', cell: ({ name }: HostCheck) => name },
    { title: 'WHAT WAS FOUND', cell: ({ message }: HostCheck) => message },
  ]
  return table(checks, columns, style)
}
