import type { Clock } from '../base/clock.ts'
import { HsuError, systemCode } from '../base/error.ts'
import type { Topic } from '../base/topic.ts'
import type { NodeRequest } from '../node/index.ts'
import type { Command, CommandContext, GlobalOptions } from './command.ts'
import { errorLine } from './error-line.ts'
import { exitCodeOf } from './exit-codes.ts'
import type { ControlClient } from './control.ts'
import type { LocalNode } from './local-node.ts'
import type { MethodCaller } from './method-caller.ts'
import { createOutput } from './output.ts'
import type { Processes } from './processes.ts'
import { parseCommandLine } from './program.ts'
import type { Sink } from './sink.ts'
import { styleFor } from './style.ts'
import type { Terminal } from './terminal.ts'

/** An open connection that has to be closed. */
export interface Closable {
  close(): void
}

/** The world as a command line finds it. `main` passes the real one. */
export interface World {
  readonly stdout: Sink
  readonly stderr: (text: string | Uint8Array) => void
  readonly stdin: AsyncIterable<Uint8Array>
  readonly env: Readonly<Record<string, string | undefined>>
  readonly cwd: string
  /** Whether stdout is a terminal. */
  readonly isTty: boolean
  readonly isErrorTty: boolean
  /** Undefined unless a person sits at both ends. */
  terminal(): Terminal | undefined
  readonly clock: Clock
  /** Who types, in words. */
  readonly actor: string
  readonly signal: AbortSignal
  readonly force: AbortSignal
  readonly requests: Topic<NodeRequest>
  readonly processes: Processes
  loadLocal(): Promise<LocalNode>
  connectControl(socketPath: string): Promise<Closable & { readonly client: ControlClient }>
  dial(address: string, descriptors: Uint8Array | undefined): Promise<Closable & MethodCaller>
}

/** Runs one command line and resolves with its exit code; whatever went wrong was told on stderr. Never rejects. */
export async function runCommandLine(
  argv: readonly string[],
  commands: readonly Command[],
  world: World,
): Promise<number> {
  try {
    const invocation = parseCommandLine(argv, commands)
    if (invocation.kind === 'help') {
      if (invocation.exitCode === 0) await world.stdout(invocation.text)
      else world.stderr(invocation.text)
      return invocation.exitCode
    }
    const { command, input, global } = invocation
    const opened: Closable[] = []
    try {
      return (await command.run(input, createContext(global, opened, world))) ?? 0
    } finally {
      for (const connection of opened) connection.close()
    }
  } catch (thrown) {
    return report(thrown, world)
  }
}

/** One line on stderr and the exit code. A reader that left early (`| head`) and a ^C need no words. */
function report(thrown: unknown, { stderr, signal, env }: World): number {
  if (systemCode(thrown) === 'EPIPE') return 0
  if (signal.aborted) return 130
  const error = HsuError.from(thrown)
  stderr(`${errorLine(error)}\n`)
  if (error.reason === 'INTERNAL' && (env['HSU_DEBUG'] ?? '') !== '') stderr(`${error.stack ?? ''}\n`)
  return exitCodeOf(error)
}

function createContext(global: GlobalOptions, opened: Closable[], world: World): CommandContext {
  const { env, stdout, stderr, isTty, isErrorTty, clock, actor, cwd, stdin, signal, force, requests, processes } = world
  const local = once(() => world.loadLocal())
  const connectTo = async (socketPath: string): Promise<ControlClient> => {
    const connection = await world.connectControl(socketPath)
    opened.push(connection)
    return connection.client
  }
  const client = once(async () => connectTo(await controlSocket(global, env, local)))
  return {
    global,
    client,
    clientAt: connectTo,
    local,
    async dial(address, descriptors) {
      const caller = await world.dial(address, descriptors)
      opened.push(caller)
      return caller
    },
    output: createOutput(
      { stdout, stderr },
      { format: global.format, style: styleFor(isTty, env), noteStyle: styleFor(isErrorTty, env) },
    ),
    terminal: () => world.terminal(),
    ...{ processes, clock, actor, env, cwd, stdin, isTty, signal, force, requests },
  }
}

/** `--data-dir` first; then `HSU_CONTROL`, which every unit has in its environment; then the usual place. */
async function controlSocket(
  { dataDir }: GlobalOptions,
  env: World['env'],
  local: () => Promise<LocalNode>,
): Promise<string> {
  const given = env['HSU_CONTROL'] ?? ''
  if (dataDir === undefined && given !== '') return given.replace(/^unix:/, '')
  return (await local()).resolvePaths(dataDir).controlSocket
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined
  return () => (made ??= make())
}
