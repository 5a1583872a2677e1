import { type Argument, type Command, type Option, usageOf } from './command.ts'
import { COMMANDS } from './commands.ts'
import { EXIT_CODES } from './exit-codes.ts'
import { GLOBAL_OPTIONS } from './program.ts'

/** docs/cli.md: every command with its arguments, options and JSON shape, from the values that `hsu` itself runs. */
export function cliReference(): string {
  const shown = COMMANDS.filter(({ hidden }) => hidden !== true)
  const parts = [
    INTRODUCTION,
    section(
      'Commands',
      shown.map(({ name, summary }) => `- [\`hsu ${name}\`](#${anchor(name)}): ${summary}`),
    ),
    section('Options of every command', GLOBAL_OPTIONS.map(optionLine)),
    section('Exit codes', [
      '| code | meaning |',
      '|---|---|',
      ...Object.entries(EXIT_CODES).map(([code, meaning]) => `| ${code} | ${meaning} |`),
    ]),
    ...shown.map(commandSection),
    section(
      'Not in this version',
      COMMANDS.filter(({ hidden }) => hidden === true).map(({ name }) => `- \`hsu ${name}\``),
    ),
  ]
  return `${parts.join('\n\n')}\n`
}

const INTRODUCTION = `# The command line

Generated from the commands in src/cli/commands; do not edit.

\`hsu up\` runs a node. Every other command asks the node on this host, which passes the question on when it is about
another: \`UNIT@NODE\` or \`--node NAME\` works with every command. A unit without a node is looked for on this host first
and then in the whole mesh. The node on this host is found by its control socket, below the data directory or where
\`HSU_CONTROL\` says.

With \`-o json\`, stdout carries the shape given here and nothing else; keys may be added in later versions, none is renamed
or removed. Errors go to stderr, on one line: what failed, why, what to do. Text is coloured on a terminal, unless
\`NO_COLOR\` is set.`

function section(title: string, lines: readonly string[]): string {
  return [`## ${title}`, '', ...lines].join('\n')
}

function commandSection(command: Command): string {
  const { name, summary, description, args, options, json, examples = [] } = command
  const parts = [
    `## hsu ${name}`,
    `\`${usageOf(command)}${options.length > 0 ? ' [options]' : ''}\``,
    [`${summary.charAt(0).toUpperCase()}${summary.slice(1)}.`, description ?? ''].join(' ').trim(),
    [...args.map(argumentLine), ...restLine(command), ...options.map(optionLine)].join('\n'),
    json === undefined ? '' : fenced('With `-o json`:', json),
    examples.length === 0 ? '' : fenced('Examples:', examples.join('\n')),
  ]
  return parts.filter((part) => part !== '').join('\n\n')
}

function argumentLine({ name, summary, required }: Argument): string {
  return `- \`${name}\`${required ? '' : ' (optional)'}: ${summary}`
}

function restLine({ rest }: Command): readonly string[] {
  return rest === undefined ? [] : [`- words behind \`--\`: ${rest}`]
}

function optionLine({ flags, summary, choices, many }: Option): string {
  const values = choices === undefined ? '' : ` (${choices.join(', ')})`
  return `- \`${flags}\`: ${summary}${values}${many === true && !summary.includes('several') ? '; may be repeated' : ''}`
}

function fenced(title: string, text: string): string {
  return `${title}\n\n\`\`\`\n${text}\n\`\`\``
}

/** As GitHub makes anchors of headings. */
function anchor(name: string): string {
  return `hsu-${name.replaceAll(' ', '-')}`
}
