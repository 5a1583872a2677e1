import { HsuError, messageOf } from '../../base/error.ts'
import { LastSeen } from '../../base/last-seen.ts'
import { resumed } from '../../base/resumed.ts'
import type { Command, CommandContext } from '../command.ts'
import { callOptions, type ControlClient, type LogLine, SCOPE_MESH, SCOPE_NODE, toTimestamp } from '../control.ts'
import { isGone, PATIENCE_MS, RETRY_MS } from '../come-back.ts'
import { FOLLOW_OPTIONS, FOLLOW_TAIL } from '../follow.ts'
import { count, flag, list, momentMs, text } from '../options.ts'
import { logShape } from '../shapes.ts'
import type { Style } from '../style.ts'
import { oneNode } from '../target.ts'
import { UNITS_ARGUMENT } from '../unit-action.ts'

/** As the control API names them. */
const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const

/** Instances whose place is known, as the node has it. */
const MAX_INSTANCES = 10_000

/** A line that was seen. */
interface Cursor {
  readonly instance: string
  readonly node: string
  readonly seq: bigint
}

type LogsRequest = Extract<Parameters<ControlClient['streamLogs']>[0], { readonly $typeName?: never }> & {
  readonly after: readonly Cursor[]
}

export const logsCommand: Command = {
  name: 'logs',
  summary: 'show what units wrote, of all replicas and nodes, merged by time',
  description:
    'Each line begins with its instance and node; `|` marks stdout, `!` stderr. ' +
    'With -f and neither -n nor --since, begins with the last 10 lines; a node that goes away meanwhile is waited for ' +
    'a minute, and then it goes on where it was.',
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
    let width = 0
    for await (const line of linesOf(request, node, context)) {
      const prefix = prefixOf(line)
      width = Math.max(width, prefix.length)
      await context.output.line(logShape(line), (_shape, style) =>
        textOf(context.isTty ? { ...line, line: harmless(line.line) } : line, prefix.padEnd(width), style),
      )
    }
    return undefined
  },
}

/** The lines that are asked for; of a follower, behind what it has seen when the node comes back after it went away. */
async function* linesOf(
  request: LogsRequest,
  node: string | undefined,
  context: CommandContext,
): AsyncGenerator<LogLine> {
  const { clock, signal, output } = context
  const client = await context.client()
  const seen = new LastSeen<Cursor>(MAX_INSTANCES)
  const startedAt = toTimestamp(clock.wallMs())

  async function* open(): AsyncGenerator<LogLine> {
    const more = seen.all
    const place = { after: [...request.after, ...more], ...(request.tail === undefined ? {} : { since: startedAt }) }
    const asked = more.length === 0 ? request : { ...request, ...place, tail: undefined }
    for await (const { line } of client.streamLogs(asked, callOptions(context, { node }))) {
      if (line === undefined) continue
      seen.note(`${line.node}/${line.instance}`, { instance: line.instance, node: line.node, seq: line.seq })
      yield line
    }
  }

  yield* resumed(open, {
    clock,
    signal,
    isBreak: (error, hasBegun) => request.follow === true && hasBegun && isGone(error),
    onBreak: (error) => output.note(`hsu: ${messageOf(error)}; waiting for it`),
    restMs: () => RETRY_MS,
    withinMs: PATIENCE_MS,
  })
}

/** `api-0-3f9a21@edge-a:4711`, the parts as `-o json` has them; the node may be left out. @throws HsuError USAGE */
function parseCursor(value: string): Cursor {
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
