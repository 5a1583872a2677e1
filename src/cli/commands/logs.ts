import type { Command } from '../command.ts'
import { callOptions, type LogLine, SCOPE_MESH, SCOPE_NODE, toTimestamp } from '../control.ts'
import { FOLLOW_OPTIONS, FOLLOW_TAIL } from '../follow.ts'
import { count, flag, momentMs, text } from '../options.ts'
import { logShape } from '../shapes.ts'
import type { Style } from '../style.ts'
import { oneNode } from '../target.ts'
import { UNITS_ARGUMENT } from '../unit-action.ts'

export const logsCommand: Command = {
  name: 'logs',
  summary: 'show what units wrote, of all replicas and nodes, merged by time',
  description:
    'Each line begins with its instance and node; `|` marks stdout, `!` stderr. ' +
    'With -f and neither -n nor --since, begins with the last 10 lines.',
  args: [{ ...UNITS_ARGUMENT, required: false }],
  options: [
    ...FOLLOW_OPTIONS,
    { flags: '--stream <stream>', summary: 'only this stream', choices: ['stdout', 'stderr'] },
    { flags: '-g, --grep <regexp>', summary: 'only lines that match the regular expression' },
  ],
  json: 'one object a line: {time, node, unit, instance, stream, seq, line}',
  examples: ['hsu logs -f api', 'hsu logs --since 5m --stream stderr', 'hsu logs -n 100 api@edge-b'],

  async run({ args, options }, context) {
    const { units, node } = oneNode(args, context)
    const follow = flag(options, 'follow')
    const sinceMs = momentMs(options, 'since', context.clock.wallMs())
    const tail = count(options, 'tail') ?? (follow && sinceMs === undefined ? FOLLOW_TAIL : undefined)
    const request = {
      units,
      follow,
      scope: node === undefined ? SCOPE_MESH : SCOPE_NODE,
      stream: text(options, 'stream') ?? '',
      grep: text(options, 'grep') ?? '',
      ...(tail === undefined ? {} : { tail }),
      ...(sinceMs === undefined ? {} : { since: toTimestamp(sinceMs) }),
    }
    const client = await context.client()
    let width = 0
    for await (const { line } of client.streamLogs(request, callOptions(context, { node }))) {
      if (line === undefined) continue
      const prefix = prefixOf(line)
      width = Math.max(width, prefix.length)
      await context.output.line(logShape(line), (_shape, style) =>
        textOf(context.isTty ? { ...line, line: harmless(line.line) } : line, prefix.padEnd(width), style),
      )
    }
    return undefined
  },
}

function prefixOf({ instance, unit, node }: LogLine): string {
  return `${instance || unit}@${node}`
}

/** Everything that would command a terminal but for colours: escapes, and controls other than a tab. */
const COMMANDS = /\x1b(?!\[[0-9;]*m)|[\x00-\x08\x0a-\x1a\x1c-\x1f\x7f]/g

/** A line for a person's terminal: what a unit writes, on whatever host, must not take it over. */
function harmless(line: Uint8Array): Uint8Array {
  const shown = Buffer.from(line).toString('latin1').replace(COMMANDS, escaped)
  return Buffer.from(shown, 'latin1')
}

function escaped(char: string): string {
  return `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`
}

/** Prefix and line, the bytes of the line untouched. */
function textOf({ line, stream }: LogLine, prefix: string, style: Style): Uint8Array {
  const mark = stream === 'stderr' ? style.bad('!') : style.faint('|')
  return Buffer.concat([Buffer.from(`${style.faint(prefix)} ${mark} `), line])
}
