import { HsuError } from '../../base/error.ts'
import type { Command, Option } from '../command.ts'
import { completionScript, SHELLS, type Shell } from '../completion.ts'

/** The command that knows all others, which is why it is made last. */
export function completionCommand(
  others: readonly Command[],
  globals: readonly Option[],
  groups: Readonly<Record<string, string>>,
): Command {
  const command: Command = {
    name: 'completion',
    summary: 'print a script that makes the shell complete commands, options and units',
    args: [{ name: 'shell', summary: SHELLS.join(', '), required: true, choices: SHELLS }],
    options: [],
    examples: [
      'source <(hsu completion bash)',
      'source <(hsu completion zsh)',
      'hsu completion fish > ~/.config/fish/completions/hsu.fish',
    ],

    async run({ args: [shell = ''] }, { output }) {
      const known = SHELLS.find((name): name is Shell => name === shell)
      if (known === undefined) throw new HsuError('USAGE', `'${shell}' is not one of ${SHELLS.join(', ')}`)
      const script = completionScript(known, [...others, command], globals, groups)
      await output.print(script, (text) => text.trimEnd())
      return undefined
    },
  }
  return command
}
