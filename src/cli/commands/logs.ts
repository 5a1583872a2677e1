import { HsuError } from '../../base/error.ts'
import type { Command } from '../command.ts'
import { callOptions, type LogLine, SCOPE_MESH, SCOPE_NODE, toTimestamp } from '../control.ts'
import { FOLLOW_OPTIONS, FOLLOW_TAIL } from '../follow.ts'
import { count, flag, list, momentMs, text } from '../options.ts'
import { logShape } from '../shapes.ts'
import type { Style } from '../style.ts'
import { oneNode } from '../target.ts'
import { UNITS_ARGUMENT } from '../unit-action.ts'

/** As the control API names them. */
const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const

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
    { flags: '--until <when>', summary: 'only those before: a duration, such as 5m, or an RFC 3339 time; not with -f' },
    { flags: '--level <level>', summary: 'only lines of this level or a more severe one', choices: LEVELS },
    {
      flags: '--after <line>',
      summary: 'go on behind this line, INSTANCE@NODE:SEQ; once for each instance',
      many: true,
    },
  ],
  json:
    'one object a line: {time, node, unit, instance, replica, pid, stream, seq, level, message, line}; ' +
    'level and message are null when the line does not tell',
  examples: [
    'hsu logs -f api',
    'hsu logs --since 5m --stream stderr',
    'hsu logs -n 100 api@edge-b',
    'hsu logs --level warn --since 1h --until 30m',
    'hsu logs -f --after api-0-3f9a21@edge-a:4711 api',
  ],

  async run({ args, options }, context) {
    const { units, node } = oneNode(args, context)
    const follow = flag(options, 'follow')
    const sinceMs = momentMs(options, 'since', context.clock.wallMs())
    const tail = count(options, 'tail') ?? (follow && sinceMs === undefined ? FOLLOW_TAIL : undefined)
    const untilMs = momentMs(options, 'until', context.clock.wallMs())
    if (follow && untilMs !== undefined) throw new HsuError('USAGE', '--until and --follow exclude each other')
    const request = {
      units,
      follow,
      scope: node === undefined ? SCOPE_MESH : SCOPE_NODE,
      stream: text(options, 'stream') ?? '',
      grep: text(options, 'grep') ?? '',
      level: text(options, 'level') ?? '',
      after: list(options, 'after').map(parseCursor),
      ...(tail === undefined ? {} : { tail }),
      ...(sinceMs === undefined ? {} : { since: toTimestamp(sinceMs) }),
      ...(untilMs === undefined ? {} : { until: toTimestamp(untilMs) }),
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

/** `api-0-3f9a21@edge-a:4711`, the parts as `-o json` has them; the node may be left out. @throws HsuError USAGE */
function parseCursor(value: string): { instance: string; node: string; seq: bigint } {
  const [, instance = '', node = '', seq = ''] = /^([a-z0-9-]+)(?:@([^:]+))?:(\d{1,15})$/.exec(value) ?? []
  if (instance !== '') return { instance, node, seq: BigInt(seq) }
  throw new HsuError(
    'USAGE',
    `--after: '${value}' is not of the form INSTANCE@NODE:SEQ, such as api-0-3f9a21@edge-a:4711`,
  )
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
