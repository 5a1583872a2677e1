import { constants } from 'node:os'
import { HsuError, messageOf } from '../../base/error.ts'
import { LastSeen } from '../../base/last-seen.ts'
import { resumed } from '../../base/resumed.ts'
import type { Command, CommandContext, Input } from '../command.ts'
import { isGone, PATIENCE_MS, RETRY_MS } from '../come-back.ts'
import { actionOptions, type ControlClient, type LogLine, type Run, type RunNews } from '../control.ts'
import { flag } from '../options.ts'
import { type RunShape, runShape } from '../run-shape.ts'
import { locate, parseUnitName, type Target } from '../target.ts'

/** Shells report death by signal N as 128 + N. */
const SIGNAL_BASE = 128
const FAILED = 1
const TIMED_OUT = 124
const INTERRUPTED = 130

/** Attempts of one run whose place is known. */
const MAX_INSTANCES = 1_001

const never = new AbortController().signal

export const runCommand: Command = {
  name: 'run',
  summary: 'run a unit once as a job, show what it writes, and exit as it does',
  description:
    'stdout and stderr of the unit go to stdout and stderr. Exits with the exit code of the unit, 128+N when signal N ' +
    'ended it, 124 when its deadline passed. ^C stops the run in good order, a second ^C kills it. The run belongs to ' +
    'the node: it goes on when this command is killed, or gives up waiting because of --timeout; a node that goes away meanwhile is waited for a minute.',
  args: [{ name: 'unit', summary: 'UNIT, or UNIT@NODE for a certain node', required: true, choices: 'units' }],
  rest: 'go behind the arguments that the configuration has, as they are; no shell sees them',
  options: [{ flags: '-d, --detach', summary: 'print the id of the run and return; `hsu runs` tells its outcome' }],
  json: `{run, unit, node, instance, state, cause, actor, args: [], tick, startedAt, endedAt, durationMs, attempts,
  exit: {code}|{signal}|null, reason}
the outcome: state is completed, failed or stopped; what the unit writes goes to stderr then. With --detach as it began: running`,
  examples: ['hsu run report', 'hsu run report -- --date 2025-01-01', 'hsu run -d report@edge-b'],

  async run(input, context) {
    const target = await targetOf(input, context)
    const client = await context.client()
    const detach = flag(input.options, 'detach')
    const request = { unit: target.unit, args: [...(input.rest ?? [])], detach }
    const stopper = createStopper(client, target, context)
    let outcome: Run | undefined
    try {
      for await (const what of newsOf(client, request, target, context)) {
        if (what.case === 'started') {
          outcome = what.value
          if (!detach) stopper.watch(what.value.run)
        } else if (what.case === 'line') await show(what.value, context)
        else outcome = what.value
      }
    } finally {
      stopper.end()
    }
    if (outcome === undefined) throw new HsuError('INTERNAL', 'the node did not say which run it began')
    return report(runShape(outcome), detach, context)
  },
}

/** The one node to run it on. @throws HsuError USAGE when it is not clear which */
async function targetOf({ args }: Input, context: CommandContext): Promise<Target> {
  const [name, surplus] = args
  if (name === undefined) throw new HsuError('USAGE', 'name a unit before --, such as hsu run UNIT -- ARGS')
  if (surplus !== undefined) {
    throw new HsuError('USAGE', `'${surplus}' is one word too many; put arguments for the unit behind --`)
  }
  const targets = await locate(parseUnitName(name, context.global.node), context)
  const [target] = targets
  if (target !== undefined && targets.length === 1) return target
  const nodes = targets.map(({ node }) => `${name}@${node ?? ''}`).join(' or ')
  throw new HsuError('USAGE', `'${name}' is on several nodes; write ${nodes}`)
}

type News = Exclude<RunNews, { readonly case: undefined }>

/** What is told of a run. It goes on when its node is replaced or started anew meanwhile, and so does this, where it was. */
async function* newsOf(
  client: ControlClient,
  request: { readonly unit: string; readonly args: string[]; readonly detach: boolean },
  target: Target,
  context: CommandContext,
): AsyncGenerator<News> {
  const { clock, output } = context
  const seen = new LastSeen<Pick<LogLine, 'instance' | 'seq'>>(MAX_INSTANCES)
  let run = ''

  async function* open(): AsyncGenerator<News> {
    const after = seen.all.map(({ instance, seq }) => ({ instance, seq }))
    const options = { ...actionOptions(context, { node: target.node }), signal: never }
    for await (const { what } of client.runUnit({ ...request, run, after }, options)) {
      if (what.case === undefined) continue
      if (what.case === 'line') seen.note(what.value.instance, what.value)
      else run = what.value.run
      yield what
    }
  }

  yield* resumed(open, {
    clock,
    signal: never,
    isBreak: (error) => run !== '' && isGone(error),
    onBreak: (error) => output.note(`hsu: ${messageOf(error)}; waiting for it`),
    restMs: () => RETRY_MS,
    withinMs: PATIENCE_MS,
  })
}

interface Stopper {
  /** From now on ^C is for this run. */
  watch(run: string): void
  end(): void
}

/** Passes ^C on to the run: the first stops it, the second kills it. */
function createStopper(client: ControlClient, { unit, node }: Target, context: CommandContext): Stopper {
  const { signal, force, output } = context
  let watched: string | undefined
  const stop = async (forced: boolean): Promise<void> => {
    if (watched === undefined) return
    const options = { ...actionOptions(context, { node }), signal: never }
    await client.stopRun({ unit, run: watched, force: forced }, options).catch((error: unknown) => {
      if (!(error instanceof HsuError && error.reason === 'RUN_NOT_FOUND')) output.note(`hsu: ${messageOf(error)}`)
    })
  }
  const first = (): void => void stop(false)
  const second = (): void => void stop(true)
  signal.addEventListener('abort', first)
  force.addEventListener('abort', second)
  return {
    watch(run) {
      watched = run
      if (signal.aborted) first()
      if (force.aborted) second()
    },
    end() {
      signal.removeEventListener('abort', first)
      force.removeEventListener('abort', second)
    },
  }
}

async function show({ stream, line }: LogLine, { output, global }: CommandContext): Promise<void> {
  if (stream === 'stderr' || global.format === 'json') output.note(line)
  else await output.line(undefined, () => line)
}

async function report(run: RunShape, detach: boolean, { output, global }: CommandContext): Promise<number> {
  if (detach || global.format === 'json') await output.print(run, ({ run: id }) => id)
  if (detach) return 0
  const code = exitCodeOf(run)
  if (run.reason !== '' && !(run.exit !== null && run.attempts < 2 && run.state === 'failed' && code !== TIMED_OUT)) {
    output.note(`hsu: run ${run.run} of ${run.unit} ${run.state}: ${run.reason}`)
  }
  return code
}

/** What became of the run, as the exit code of a program. */
function exitCodeOf({ state, exit, reason }: RunShape): number {
  if (reason.startsWith('timeout')) return TIMED_OUT
  if (exit !== null && 'code' in exit) return exit.code
  const number = exit === null ? undefined : (constants.signals as Record<string, number>)[exit.signal]
  if (number !== undefined) return SIGNAL_BASE + number
  if (state === 'completed') return 0
  return state === 'stopped' ? INTERRUPTED : FAILED
}
