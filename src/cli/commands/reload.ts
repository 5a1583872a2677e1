import { HsuError } from '../../base/error.ts'
import type { Command } from '../command.ts'
import { ACTION_TIMEOUT_MS, actionOptions } from '../control.ts'
import { flag } from '../options.ts'
import { type Column, table } from '../table.ts'

interface Change {
  readonly unit: string
  readonly change: string
  readonly keys: readonly string[]
}

const COLUMNS: readonly Column<Change>[] = [
  { title: 'UNIT', cell: ({ unit }) => unit },
  { title: 'CHANGE', cell: ({ change }) => change },
  { title: 'KEYS', cell: ({ keys }) => keys.join(', ') },
]

export const reloadCommand: Command = {
  name: 'reload',
  summary: 'read the configuration again and apply what changed',
  description:
    'Units are added, removed and changed; what has not changed is not touched. A change of run, cwd, env, user or ports ' +
    'restarts the unit, any other is taken over as it runs. With a fault anywhere nothing changes, and the exit code is 2. ' +
    'Changes outside `units` are named: they take effect with `hsu upgrade`. SIGHUP to the node does the same.',
  args: [],
  options: [{ flags: '--dry-run', summary: 'only show what would change' }],
  json: '{units: [{unit, change, keys: []}], needsUpgrade: []}    change: added | removed | restarted | updated',
  examples: ['hsu reload --dry-run', 'hsu reload'],

  async run({ options }, context) {
    const client = await context.client()
    const dryRun = flag(options, 'dryRun')
    const answer = await client.reload({ dryRun }, actionOptions(context, { timeoutMs: ACTION_TIMEOUT_MS }))
    if (answer.fault !== '') throw new HsuError('CONFIG_INVALID', answer.fault)
    const units = answer.changes.map(({ unit, change, keys }): Change => ({ unit, change, keys }))
    const { needsUpgrade } = answer
    await context.output.print({ units, needsUpgrade }, (_value, style) =>
      units.length === 0 ? 'no unit changes' : table(units, COLUMNS, style),
    )
    if (needsUpgrade.length > 0) {
      context.output.note(`takes effect with hsu upgrade: ${needsUpgrade.join(', ')}`)
    }
    return undefined
  },
}
