import type { Command, Option } from './command.ts'

export const SHELLS = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof SHELLS)[number]

/** What completion knows of one command. */
interface Entry {
  readonly name: string
  readonly summary: string
  readonly options: readonly Option[]
  /** Words that may stand in the place of an argument. */
  readonly words: readonly string[]
  /** Names of units may stand in the place of an argument. */
  readonly units: boolean
}

/** A script that completes commands, options, their values and the names of units; made from the commands themselves. */
export function completionScript(
  shell: Shell,
  commands: readonly Command[],
  globals: readonly Option[],
  groups: Readonly<Record<string, string>>,
): string {
  const entries = commands.filter(({ hidden }) => hidden !== true).map((command) => entryOf(command, globals))
  switch (shell) {
    case 'bash':
      return bashScript(entries)
    case 'zsh':
      return `autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n${bashScript(entries)}`
    case 'fish':
      return fishScript(entries, groups)
  }
}

function entryOf({ name, summary, args, options }: Command, globals: readonly Option[]): Entry {
  const words = args.flatMap(({ choices }) => (choices === undefined || choices === 'units' ? [] : choices))
  const units = args.some(({ choices }) => choices === 'units')
  return { name, summary, options: [...options, ...globals], words, units }
}

/** The words after `hsu` with which commands begin, each once. */
function firstWords(entries: readonly Entry[]): string[] {
  return [...new Set(entries.map(({ name }) => name.split(' ')[0] ?? ''))]
}

/** Second words of a command that has one, such as `validate` of `config`. */
function secondWords(entries: readonly Entry[], first: string): string[] {
  return entries.flatMap(({ name }) => (name.startsWith(`${first} `) ? [name.slice(first.length + 1)] : []))
}

/** `-f, --file <file>` as its names. */
function namesOf({ flags }: Option): string[] {
  return flags.split(/[ ,]+/).filter((part) => part.startsWith('-'))
}

function takesValue({ flags }: Option): boolean {
  return flags.includes('<')
}

function isFile({ flags }: Option): boolean {
  return /<(file|dir)>/.test(flags)
}

// `hsu ps` prints a heading and then the name of a unit in the first column.
const UNITS_COMMAND = `hsu ps 2>/dev/null | awk 'NR > 1 { print $1 }' | sort -u`

function bashScript(entries: readonly Entry[]): string {
  const firsts = firstWords(entries)
  const valued = [...new Set(entries.flatMap(({ options }) => options.filter(takesValue).flatMap(namesOf)))]
  const groups = firsts.filter((first) => secondWords(entries, first).length > 0)
  return `# completion of hsu; load it with: source <(hsu completion SHELL)
_hsu() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} command= word i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    case $word in
      ${valued.join('|')}) ((i++)) ;;
      -*) ;;
      *)
        if [[ -z $command ]]; then command=$word
        elif [[ ${groups.map((group) => `$command == ${group}`).join(' || ')} ]]; then command="$command $word"
        fi ;;
    esac
  done
  COMPREPLY=()
  case $command in
    '') COMPREPLY=($(compgen -W '${firsts.join(' ')}' -- "$cur")) ;;
${groups.map((group) => `    ${group}) COMPREPLY=($(compgen -W '${secondWords(entries, group).join(' ')}' -- "$cur")) ;;`).join('\n')}
${entries.map(bashCase).join('\n')}
  esac
}
complete -F _hsu hsu
`
}

function bashCase({ name, options, words, units }: Entry): string {
  const flags = options.map((option) => namesOf(option).at(-1) ?? '')
  const values = options.filter(takesValue).map((option) => {
    const reply = bashValues(option)
    return `        ${namesOf(option).join('|')}) ${reply} ;;`
  })
  const rest =
    words.length > 0
      ? `COMPREPLY=($(compgen -W '${words.join(' ')}' -- "$cur"))`
      : units
        ? `COMPREPLY=($(compgen -W "$(${UNITS_COMMAND})" -- "$cur"))`
        : 'COMPREPLY=($(compgen -f -- "$cur"))'
  return `    '${name}')
      case $prev in
${values.join('\n')}
        *) if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W '${flags.join(' ')} --help' -- "$cur")); else ${rest}; fi ;;
      esac ;;`
}

function bashValues(option: Option): string {
  if (option.choices !== undefined) return `COMPREPLY=($(compgen -W '${option.choices.join(' ')}' -- "$cur"))`
  return isFile(option) ? 'COMPREPLY=($(compgen -f -- "$cur"))' : ':'
}

function fishScript(entries: readonly Entry[], groups: Readonly<Record<string, string>>): string {
  const firsts = firstWords(entries).map((first) => {
    const summary = groups[first] ?? entries.find(({ name }) => name === first)?.summary ?? ''
    return `complete -c hsu -f -n __fish_use_subcommand -a ${first} -d ${quoted(summary)}`
  })
  return [
    '# completion of hsu for fish; put it into ~/.config/fish/completions/hsu.fish',
    ...firsts,
    ...entries.flatMap((entry) => fishLines(entry, entries)),
    '',
  ].join('\n')
}

function fishLines({ name, summary, options, words, units }: Entry, entries: readonly Entry[]): string[] {
  const [first = '', second] = name.split(' ')
  const seen = `__fish_seen_subcommand_from ${first}`
  const condition = second === undefined ? seen : `${seen}; and __fish_seen_subcommand_from ${second}`
  const noneYet = `${seen}; and not __fish_seen_subcommand_from ${secondWords(entries, first).join(' ')}`
  const base = `complete -c hsu -n ${quoted(condition)}`
  return [
    ...(second === undefined ? [] : [`complete -c hsu -f -n ${quoted(noneYet)} -a ${second} -d ${quoted(summary)}`]),
    ...(words.length === 0 ? [] : [`${base} -f -a ${quoted(words.join(' '))}`]),
    ...(units ? [`${base} -f -a ${quoted(`(${UNITS_COMMAND})`)}`] : []),
    ...options.map((option) => `${base} ${fishOption(option)}`),
  ]
}

function fishOption(option: Option): string {
  const names = namesOf(option).map((name) => (name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`))
  const value = !takesValue(option) ? [] : isFile(option) ? ['-r'] : ['-x']
  const choices = option.choices === undefined ? [] : [`-a ${quoted(option.choices.join(' '))}`]
  return [...names, ...value, ...choices, `-d ${quoted(option.summary)}`].join(' ')
}

/** In single quotes, in which fish and POSIX shells read nothing but the quote itself. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`
}
