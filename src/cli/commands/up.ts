import { join } from 'node:path'
import { withSignal } from '../../base/abort.ts'
import { TIMED_OUT, within } from '../../base/clock.ts'
import { HsuError } from '../../base/error.ts'
import type { Command, CommandContext, Input } from '../command.ts'
import { configFiles, FILE_OPTION } from '../config-files.ts'
import { type ControlClient, localOptions, type NodeInfo } from '../control.ts'
import { flag, text } from '../options.ts'
import { clockTime } from '../moment.ts'
import type { Style } from '../style.ts'
import { paintEvent } from '../views.ts'

/** How long a detached node may take to answer; loading and adopting many units must fit in. */
const START_TIMEOUT_MS = 30_000
const ASK_EVERY_MS = 50
/** Lines of the node's log that an error shows. */
const SHOWN_LOG_LINES = 20

export const upCommand: Command = {
  name: 'up',
  summary: 'run a node with its units on this host',
  description:
    'Runs in the foreground until ^C, which stops the units in order; a second ^C stops them by force. ' +
    'With -d it goes on in the background, and `hsu down` stops it. SIGHUP reloads the configuration (`hsu reload`), ' +
    'SIGUSR2 replaces the process (`hsu upgrade`), ' +
    'SIGQUIT ends the node and leaves its units running (`hsu down --keep-units`).',
  args: [],
  options: [
    FILE_OPTION,
    { flags: '-d, --detach', summary: 'run in the background; returns when the node answers' },
    {
      flags: '--name <name>',
      summary: 'name of the node; default: node.name of the configuration, else the host name',
    },
  ],
  json: 'with -d: {node, pid, log}',
  examples: ['hsu up', 'hsu up -f hsu.yaml -f hsu.prod.yaml -d', 'hsu up --name edge-b --data-dir /tmp/edge-b'],

  run: (input, context) => (flag(input.options, 'detach') ? runDetached(input, context) : runHere(input, context)),
}

async function runHere(input: Input, context: CommandContext): Promise<number> {
  const { clock, output, global, signal, force, requests } = context
  const local = await context.local()
  return local.run(
    {
      files: configFiles(input),
      dataDir: global.dataDir,
      name: text(input.options, 'name'),
      onProgress: (line) => output.note((style) => progressLine(line, clock.wallMs(), style)),
      force,
      requests,
    },
    signal,
  )
}

/** `14:05:09  unit.ready  echo-0-3fa2b1`: the first word says what happened. */
function progressLine(line: string, wallMs: number, style: Style): string {
  return `${style.faint(clockTime(wallMs))}  ${paintEvent(line.split(' ')[0] ?? '', line, style)}`
}

async function runDetached(input: Input, context: CommandContext): Promise<undefined> {
  const files = configFiles(input)
  const local = await context.local()
  // Faults are told here and now, not in a log that nobody reads.
  const { dataDir } = await local.describeConfig(files)
  const { logDir, controlSocket } = local.resolvePaths(context.global.dataDir ?? dataDir)
  const client = await context.clientAt(controlSocket)
  await refuseSecond(client, context)

  const log = join(logDir, 'node.log')
  const node = await context.processes.detach(upArgs(input, files, context), log)
  const answered = await withSignal(context.signal, (signal) => {
    const timeoutMs = context.global.timeoutMs ?? START_TIMEOUT_MS
    return within(context.clock, timeoutMs, Promise.race([untilAnswers(node.pid, client, context, signal), node.ended]))
  })
  if (answered === TIMED_OUT) {
    throw new HsuError('TIMED_OUT', `the node (pid ${node.pid}) runs but does not answer yet; see ${log}`)
  }
  if (typeof answered === 'string') throw endedAtOnce(answered, log, context)
  node.release()
  const value = { node: answered.node?.node ?? '', pid: node.pid, log }
  await context.output.print(value, ({ node, pid }) => `node ${node} runs, pid ${pid}, log ${log}`)
  return undefined
}

/** @throws HsuError NODE_EXISTS when a node answers here already */
async function refuseSecond(client: ControlClient, context: CommandContext): Promise<void> {
  const running = await ask(client, context)
  if (running === undefined) return
  const { node, pid, dataDir } = running
  throw new HsuError(
    'NODE_EXISTS',
    `node ${node?.node ?? ''} (pid ${pid}) already runs with ${dataDir}; stop it with \`hsu down\`, or choose another --data-dir`,
    { details: { pid, dataDir } },
  )
}

async function untilAnswers(
  pid: number,
  client: ControlClient,
  context: CommandContext,
  signal: AbortSignal,
): Promise<NodeInfo> {
  for (;;) {
    const answer = await ask(client, context)
    if (answer?.pid === pid) return answer
    await context.clock.sleep(ASK_EVERY_MS, signal)
  }
}

/** What the node there says of itself; undefined when none answers. */
async function ask(client: ControlClient, context: CommandContext): Promise<NodeInfo | undefined> {
  try {
    return await client.getNode({}, localOptions(context))
  } catch (error) {
    if (!(error instanceof HsuError)) throw error
    context.signal.throwIfAborted()
    return undefined
  }
}

function endedAtOnce(how: string, log: string, context: CommandContext): HsuError {
  for (const line of context.processes.lastLines(log, SHOWN_LOG_LINES)) context.output.note(line)
  return new HsuError('NOT_STARTED', `the node ended at once (${how}); its last lines are above, all of them in ${log}`)
}

/** The same `up`, but in the foreground of its own session. */
function upArgs({ options }: Input, files: readonly string[], { global }: CommandContext): string[] {
  const name = text(options, 'name')
  return [
    'up',
    ...files.flatMap((file) => ['-f', file]),
    ...(global.dataDir === undefined ? [] : ['--data-dir', global.dataDir]),
    ...(name === undefined ? [] : ['--name', name]),
  ]
}
