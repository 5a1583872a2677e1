import type { Command } from '../command.ts'
import { ACTION_TIMEOUT_MS, actionOptions, readOptions, toDuration } from '../control.ts'
import { durationMs } from '../options.ts'

export const upgradeCommand: Command = {
  name: 'upgrade',
  summary: 'replace the running node by the program that is on disk now, with its units running',
  description:
    'Starts a new process with the arguments of the old one, which takes over the units and the listening sockets: no unit ' +
    'is restarted, no call fails. Returns when the new process serves. If it cannot (a wrong configuration, say), the old ' +
    'one goes on as before. Also puts in force what `hsu reload` cannot. SIGUSR2 to the node does the same.',
  args: [],
  options: [
    { flags: '--drain <duration>', summary: 'how long calls under way may go on in the old process; default: 30s' },
  ],
  json: '{node, pid, before: {pid, version}, version}',
  examples: ['hsu upgrade', 'hsu upgrade --drain 5m'],

  async run({ options }, context) {
    const client = await context.client()
    const drainMs = durationMs(options, 'drain')
    const before = await client.getNode({}, readOptions(context))
    const { pid, version } = await client.upgrade(
      drainMs === undefined ? {} : { drain: toDuration(drainMs) },
      actionOptions(context, { timeoutMs: ACTION_TIMEOUT_MS }),
    )
    const node = before.node?.node ?? ''
    const old = { pid: before.pid, version: before.node?.version ?? '' }
    await context.output.print({ node, pid, before: old, version }, () => {
      const versions = old.version === version ? `version ${version}` : `version ${old.version} -> ${version}`
      return `node ${node} goes on as process ${pid} (was ${old.pid}), ${versions}`
    })
    return undefined
  },
}
