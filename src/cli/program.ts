import { CommanderError, Command as Parser, Option as ParserOption } from 'commander'
import { HsuError } from '../base/error.ts'
import { argumentTerm, type Command, type GlobalOptions, type Input, type Option, type OptionValue } from './command.ts'
import { EXIT_CODES } from './exit-codes.ts'
import { durationMs, text } from './options.ts'

/** What a command line asks for. */
export type Invocation =
  | { readonly kind: 'run'; readonly command: Command; readonly input: Input; readonly global: GlobalOptions }
  /** Show a text: asked for (`--help`, exit 0), or because nothing else was (exit 2). */
  | { readonly kind: 'help'; readonly text: string; readonly exitCode: 0 | 2 }

/** Options of every command, before or after its name. */
export const GLOBAL_OPTIONS: readonly Option[] = [
  { flags: '--node <name>', summary: 'ask this node of the mesh instead of the one on this host' },
  { flags: '--data-dir <dir>', summary: 'data directory of the node on this host; also HSU_DATA_DIR' },
  {
    flags: '-o, --output <format>',
    summary: 'json for programs, text for people, wide = text with all there is',
    choices: ['json', 'text', 'wide'],
  },
  { flags: '--timeout <duration>', summary: 'how long it may take, such as 10s' },
]

/** What a group of commands is about, for its help. */
export const GROUPS: Readonly<Record<string, string>> = {
  config: 'check and show configuration',
  mesh: 'make a mesh and its key, and say who may be in it',
}

const GLOBAL_GROUP = 'Global options:'

/** Understands a command line. Touches nothing. @throws HsuError USAGE */
export function parseCommandLine(argv: readonly string[], commands: readonly Command[]): Invocation {
  const words = argv[0] === '--version' || argv[0] === '-V' ? ['version', ...argv.slice(1)] : [...argv]
  const ran: Invocation[] = []
  const shown: string[] = []
  const parser = createParser(shown)
  const dashes = words.indexOf('--')
  const behind = dashes < 0 ? 0 : words.length - dashes - 1
  for (const command of commands) addCommand(parser, command, (invocation) => ran.push(apart(invocation, behind)))
  try {
    parser.parse(words, { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    if (error.code === 'commander.helpDisplayed') return { kind: 'help', text: shown.join(''), exitCode: 0 }
    if (error.code === 'commander.help') return { kind: 'help', text: shown.join(''), exitCode: helpExitCode(words) }
    throw new HsuError('USAGE', usageFault(error.message, words, commands))
  }
  const [invocation] = ran
  if (invocation === undefined) throw new HsuError('USAGE', 'no command given; see `hsu --help`')
  return invocation
}

/** Words behind `--` are never options, and come last; a command that takes them apart gets them so. */
function apart(invocation: Invocation, behind: number): Invocation {
  if (invocation.kind !== 'run' || invocation.command.rest === undefined) return invocation
  const { args, options } = invocation.input
  const at = args.length - behind
  return { ...invocation, input: { options, args: args.slice(0, at), rest: args.slice(at) } }
}

/** commander gives `hsu help` and a lone `hsu` the same code; only the first was asked for. */
function helpExitCode(words: readonly string[]): 0 | 2 {
  return words.includes('help') ? 0 : 2
}

function createParser(shown: string[]): Parser {
  const take = (text: string): void => void shown.push(text)
  const parser = new Parser('hsu')
    .description('Kubernetes for native applications: run processes, find hosts on the LAN, route gRPC calls.')
    .usage('<command> [options]')
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({ writeOut: take, writeErr: take, outputError: () => undefined })
    .configureHelp({ sortSubcommands: false, subcommandTerm: (command) => command.name() })
    .addHelpText('after', `\nExit codes:\n${exitCodeText()}`)
  for (const option of GLOBAL_OPTIONS) parser.addOption(parserOption(option).helpGroup(GLOBAL_GROUP))
  return parser
}

function exitCodeText(): string {
  return Object.entries(EXIT_CODES)
    .map(([code, meaning]) => `  ${code.padEnd(5)}${meaning}`)
    .join('\n')
}

function addCommand(root: Parser, command: Command, run: (invocation: Invocation) => void): void {
  const { parent, name } = parentOf(root, command.name)
  const parser = parent.command(name, { hidden: command.hidden === true })
  parser.summary(command.summary)
  parser.description([sentence(command.summary), command.description ?? ''].filter((part) => part !== '').join(' '))
  for (const argument of command.args) parser.argument(argumentTerm(argument), argument.summary)
  for (const option of command.options) parser.addOption(parserOption(option))
  if (command.rest !== undefined) parser.allowExcessArguments()
  for (const option of GLOBAL_OPTIONS) parser.addOption(parserOption(option).helpGroup(GLOBAL_GROUP))
  if (command.hidden === true) parser.allowUnknownOption().allowExcessArguments()
  parser.addHelpText('after', helpTail(command))
  parser.action(() => {
    const options = { ...root.opts<Input['options']>(), ...parser.opts<Input['options']>() }
    run({ kind: 'run', command, input: { args: parser.args, options }, global: parseGlobal(options) })
  })
}

/** `config show` lives below `config`, which is made when it is first needed. */
function parentOf(root: Parser, path: string): { parent: Parser; name: string } {
  const [first = '', second] = path.split(' ')
  if (second === undefined) return { parent: root, name: first }
  const known = root.commands.find((command) => command.name() === first)
  const parent =
    known ??
    root
      .command(first)
      .description(sentence(GROUPS[first] ?? ''))
      .summary(GROUPS[first] ?? '')
  return { parent, name: second }
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`
}

function helpTail({ examples = [] }: Command): string {
  return examples.length === 0 ? '' : `\nExamples:\n${examples.map((line) => `  ${line}`).join('\n')}`
}

function parserOption({ flags, summary, many, choices }: Option): ParserOption {
  const option = new ParserOption(flags, summary)
  if (choices !== undefined) option.choices(choices)
  if (many === true) {
    option.argParser((value: string, before: readonly string[] | undefined) => [...(before ?? []), value])
  }
  return option
}

/** @throws HsuError USAGE */
function parseGlobal(options: Readonly<Record<string, OptionValue | undefined>>): GlobalOptions {
  return {
    node: text(options, 'node'),
    dataDir: text(options, 'dataDir'),
    format: text(options, 'output') === 'json' ? 'json' : 'text',
    wide: text(options, 'output') === 'wide',
    timeoutMs: durationMs(options, 'timeout'),
  }
}

/** What commander found wrong, on one line and with the help that tells more. */
function usageFault(message: string, words: readonly string[], commands: readonly Command[]): string {
  const fault = message
    .replace(/^error: /, '')
    .replace(/\s*\n\s*/g, ' ')
    .replace(/[.]?\s*$/, '')
  const typed = words.filter((word) => !word.startsWith('-'))
  const command = commands.find(({ name }) => name === typed.slice(0, 2).join(' ') || name === typed[0])
  return `${fault}; see \`hsu ${command === undefined ? '' : `${command.name} `}--help\``
}
