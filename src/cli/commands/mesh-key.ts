import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { HsuError, messageOf } from '../../base/error.ts'
import type { Command, CommandContext } from '../command.ts'
import { ACTION_TIMEOUT_MS, actionOptions, readOptions, rfc3339, toDuration } from '../control.ts'
import { durationMs } from '../options.ts'

interface KeyShape {
  readonly file: string
  /** Of the newest. */
  readonly fingerprint: string
  readonly keys: readonly {
    readonly fingerprint: string
    readonly since: string | null
    readonly until: string | null
  }[]
  readonly holders: readonly string[]
  readonly others: readonly string[]
}

export const meshKeyCommand: Command = {
  name: 'mesh key',
  summary: 'show the mesh keys of a node by their fingerprints, or replace the key',
  description:
    'Fingerprints tell keys apart and say nothing about them. `hsu mesh key rotate` makes a new key while the mesh goes on: it ' +
    'goes, encrypted, to all members that are here or remembered, save removed ones; the old key is accepted besides it for the ' +
    'time of --overlap, and then no more. With the name of a file, shows what is in that file.',
  args: [{ name: 'what', summary: '`rotate`, or a key file; default: the keys of the node', required: false }],
  options: [{ flags: '--overlap <duration>', summary: 'with rotate: how long the old key is accepted; default: 1d' }],
  json: `{file, fingerprint, keys: [{fingerprint, since, until}], holders: [], others: []}
newest first; until is null for a key that stays; holders and others: the other nodes that have the newest key, and those that
have not shown that yet
rotate: {fingerprint, holders: []}, the nodes that may have the new key`,
  examples: ['hsu mesh key', 'hsu mesh key ./mesh.key', 'hsu mesh key rotate --overlap 1h'],

  async run({ args: [what], options }, context) {
    if (what === 'rotate') return rotate(durationMs(options, 'overlap'), context)
    const shape = what === undefined ? await keysOfNode(context) : await keysOfFile(resolve(context.cwd, what), context)
    await context.output.print(shape, keyText)
    return undefined
  },
}

async function rotate(overlapMs: number | undefined, context: CommandContext): Promise<undefined> {
  const request = overlapMs === undefined ? {} : { overlap: toDuration(overlapMs) }
  const client = await context.client()
  const { fingerprint, holders } = await client.rotateMeshKey(
    request,
    actionOptions(context, { node: context.global.node, timeoutMs: ACTION_TIMEOUT_MS }),
  )
  await context.output.print({ fingerprint, holders }, () =>
    [
      `new mesh key ${fingerprint}; it goes to ${holders.length} nodes: ${holders.join(', ')}`,
      'hsu mesh key shows who has it, and until when the old one is accepted',
    ].join('\n'),
  )
  return undefined
}

async function keysOfNode(context: CommandContext): Promise<KeyShape> {
  const { keys, file, holders, others } = await (await context.client()).getMeshKeys({}, readOptions(context))
  const rows = keys.map(({ fingerprint, since, until }) => ({
    fingerprint,
    since: rfc3339(since),
    until: rfc3339(until),
  }))
  return { file, fingerprint: keys[0]?.fingerprint ?? '', keys: rows, holders, others }
}

async function keysOfFile(file: string, context: CommandContext): Promise<KeyShape> {
  const content = await readFile(file, 'utf8').catch((error: unknown) => {
    throw new HsuError('USAGE', `cannot read ${file}: ${messageOf(error)}; \`hsu mesh create\` makes a key`)
  })
  const fingerprints = (await context.local()).meshKeyFingerprints(content, file)
  const keys = fingerprints.map((fingerprint) => ({ fingerprint, since: null, until: null }))
  return { file, fingerprint: fingerprints[0] ?? '', keys, holders: [], others: [] }
}

function keyText({ file, keys, holders, others }: KeyShape): string {
  const lines = keys.map(({ fingerprint, since, until }) =>
    [fingerprint, ...(since === null ? [] : [`since ${since}`]), ...(until === null ? [] : [`until ${until}`])].join(
      '  ',
    ),
  )
  const seen = [
    ...(holders.length > 0 ? [`the newest is held by: ${holders.join(', ')}`] : []),
    ...(others.length > 0 ? [`not shown yet by: ${others.join(', ')}`] : []),
  ]
  return [...lines, ...seen, `file: ${file}`].join('\n')
}
