import type { Command } from '../command.ts'
import { ACTION_TIMEOUT_MS, actionOptions, rfc3339, toDuration } from '../control.ts'
import { count, durationMs } from '../options.ts'

export const meshInviteCommand: Command = {
  name: 'mesh invite',
  summary: 'make a code by which another host fetches the mesh key and joins',
  description:
    'The code is good for a short time, for one host unless told, and ends with the node that made it. The key goes over TLS to ' +
    'whoever proves to have the code, which itself does not travel. Five attempts that fail to prove it end the invitation.',
  args: [],
  options: [
    { flags: '--ttl <duration>', summary: 'how long the code is good, at most 1d; default: 10m' },
    { flags: '--uses <n>', summary: 'how many hosts may use it; default: 1' },
  ],
  json: '{code, expiresAt, addresses: []}, addresses of link ports that the code leads to',
  examples: ['hsu mesh invite', 'hsu mesh invite --ttl 1h --uses 5'],

  async run({ options }, context) {
    const ttlMs = durationMs(options, 'ttl')
    const uses = count(options, 'uses')
    const client = await context.client()
    const { code, expiresAt, addresses } = await client.createInvite(
      { ...(ttlMs !== undefined && { ttl: toDuration(ttlMs) }), ...(uses !== undefined && { uses }) },
      actionOptions(context, { node: context.global.node, timeoutMs: ACTION_TIMEOUT_MS }),
    )
    const value = { code, expiresAt: rfc3339(expiresAt), addresses }
    await context.output.print(value, (shape) =>
      [
        'On the new host:',
        `  hsu mesh join ${shape.code}`,
        '',
        `The code leads to ${shape.addresses.join(' and ')}; where these are not reached from there, put another`,
        `address of this host behind it. It is good until ${shape.expiresAt}.`,
      ].join('\n'),
    )
    return undefined
  },
}
