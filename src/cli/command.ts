import type { Clock } from '../base/clock.ts'
import type { Topic } from '../base/topic.ts'
import type { NodeRequest } from '../node/index.ts'
import type { ControlClient } from './control.ts'
import type { LocalNode } from './local-node.ts'
import type { MethodCaller } from './method-caller.ts'
import type { Processes } from './processes.ts'
import type { Style } from './style.ts'
import type { Terminal } from './terminal.ts'

/** One positional argument of a command. */
export interface Argument {
  readonly name: string
  readonly summary: string
  readonly required: boolean
  /** Takes all that follow; only the last argument may. */
  readonly many?: boolean
  /** Values to choose from; also what completion offers. `units` = the names of units, asked of the node. */
  readonly choices?: readonly string[] | 'units'
}

/** One option of a command, or one that every command takes. */
export interface Option {
  /** As commander writes them: `-f, --follow` or `-n, --tail <n>`. */
  readonly flags: string
  readonly summary: string
  /** May be given several times; the values come as a list. */
  readonly many?: boolean
  readonly choices?: readonly string[]
}

export type OptionValue = string | boolean | readonly string[]

/** What was typed after the name of a command. Keys are the long names of options in camel case. */
export interface Input {
  readonly args: readonly string[]
  readonly options: Readonly<Record<string, OptionValue | undefined>>
  /** What stood behind `--`, of a command that takes it apart; else it is among `args`. */
  readonly rest?: readonly string[]
}

export type OutputFormat = 'text' | 'json'

/** Options that every command takes. */
export interface GlobalOptions {
  /** The node to ask; undefined = the one on this host. */
  readonly node: string | undefined
  readonly dataDir: string | undefined
  readonly format: OutputFormat
  /** Text with more columns, of commands that have more. */
  readonly wide: boolean
  /** How long a request may take; undefined = what suits the command. */
  readonly timeoutMs: number | undefined
}

/** Where a command writes. Each call resolves when the text was taken, so that a slow reader slows the command down. */
export interface Output {
  /** Prints `value` as JSON under `-o json`, otherwise the text. */
  print<T>(value: T, text: (value: T, style: Style) => string): Promise<void>
  /** Prints one item of a stream: a line of JSON under `-o json`, otherwise the text. */
  line<T>(value: T, text: (value: T, style: Style) => string | Uint8Array): Promise<void>
  /** A line for the person at the terminal, on stderr. */
  note(line: string | Uint8Array | ((style: Style) => string)): void
}

/** All that a command may touch of the world. */
export interface CommandContext {
  readonly global: GlobalOptions
  /** The control API of the node on this host. @throws HsuError NOT_STARTED from the first call when none runs. */
  client(): Promise<ControlClient>
  /** The control API at a certain socket. */
  clientAt(controlSocket: string): Promise<ControlClient>
  /** What the library does in this process, for commands that need no running node. Loaded on first use. */
  local(): Promise<LocalNode>
  /** Calls of any gRPC method at `host:port`; described by a FileDescriptorSet, or by what the server says. */
  dial(address: string, descriptors?: Uint8Array): Promise<MethodCaller>
  readonly processes: Processes
  readonly output: Output
  readonly clock: Clock
  readonly env: Readonly<Record<string, string | undefined>>
  readonly cwd: string
  readonly stdin: AsyncIterable<Uint8Array>
  readonly isTty: boolean
  /** Undefined unless a person sits at both ends. */
  terminal(): Terminal | undefined
  /** Who types, for the events of the node: `anna (uid 1000) from the command line`. */
  readonly actor: string
  /** Aborted by ^C or a request to end. */
  readonly signal: AbortSignal
  /** Aborted by a second ^C: no more patience. */
  readonly force: AbortSignal
  /** What signals ask of a node that runs in this process. */
  readonly requests: Topic<NodeRequest>
}

/** A command as a value: it reads no environment, prints nothing itself and never exits, so a test simply calls it. */
export interface Command {
  /** As typed after `hsu`: `ps`, `config show`. */
  readonly name: string
  readonly summary: string
  /** More for `hsu help NAME` and docs/cli.md; whole sentences. */
  readonly description?: string
  readonly args: readonly Argument[]
  readonly options: readonly Option[]
  /** What the words behind `--` are; undefined: nothing of their own. */
  readonly rest?: string
  /** Shape of `-o json`, for docs/cli.md; undefined when the command prints no value. */
  readonly json?: string
  readonly examples?: readonly string[]
  /** Not in this version: known by name, absent from help. */
  readonly hidden?: boolean
  /** Resolves with the exit code; nothing = 0. @throws HsuError, which `main` turns into one line and an exit code. */
  run(input: Input, context: CommandContext): Promise<number | undefined>
}

/** A mistake in what was typed after the name of a command is answered with how it should be. */
export function usageOf({ name, args, rest }: Pick<Command, 'name' | 'args' | 'rest'>): string {
  return ['hsu', name, ...args.map(argumentTerm), ...(rest === undefined ? [] : ['[-- ARGS]'])].join(' ')
}

/** `<unit...>` or `[unit]`, as commander and manual pages write it. */
export function argumentTerm({ name, required, many }: Argument): string {
  const inner = many === true ? `${name}...` : name
  return required ? `<${inner}>` : `[${inner}]`
}
