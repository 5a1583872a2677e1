/** The shell that POSIX promises (POSIX.1-2017 `sh`), dash or bash in practice. */
export const SHELL = '/bin/sh'

/** Names of variables that a shell keeps; dash drops all others from the environment. */
const SHELL_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/

/**
 * Descriptors of the shim besides the usual three. A shell's redirections know one digit only. `node` goes both ways:
 * a line from the node lets the shim go on, a line to it tells the program's pid.
 */
export const SHIM_FD = { pid: 3, exit: 4, node: 5 } as const

/** The line that lets the shim go on: it is where its limits are. */
export const GO = 'go\n'

/**
 * Runs as the unit's program: tells its pid (which exec keeps) to the file and to the node, and becomes the program.
 * SIGPIPE is held off while telling, for the node may have died; PWD is a variable that the shell added.
 */
const become = (unset: string, prelude: string): string =>
  [
    'exec 2>&6 6>&-',
    ...(prelude === '' ? [] : [prelude]),
    'echo $$ >&3',
    'trap "" PIPE',
    'echo $$ >&5 2>/dev/null',
    'trap - PIPE',
    unset,
    'exec "$@" 3>&- 4>&- 5>&-',
  ].join('; ')

/**
 * Leads the session and the group, outlives the node, and records how the program ended.
 *
 * Signals for the group are caught, not ignored: an ignored one would be ignored in the program too. The program runs
 * in the foreground: POSIX lets background commands ignore SIGINT and read nothing (Shell Command Language 2.11).
 * The shell's own remarks (`Killed`) do not belong in the unit's stderr, which waits in descriptor 6. `$1`, the
 * directory of the instance, is there so that the process table shows whose shim it is.
 *
 * It starts nothing before the node has put it where its limits are; a node that dies before says nothing, and that ends it.
 */
const LEAD = [
  'shift',
  'exec 6>&2 2>/dev/null',
  'read -r _hsu_go <&5 || exit 126',
  'unset _hsu_go',
  'trap : HUP INT QUIT TERM USR1 USR2',
  `${SHELL} -c "$0" hsu-unit "$@"`,
  'set -- $?',
  'echo $1 >&4',
  'exit $1',
].join('; ')

/**
 * The arguments of `SHELL` that run `program` for the instance of `directory`. No text of the user is ever parsed; `prelude`
 * is ours, and is said in the process that becomes the program.
 */
export function shimArguments(
  directory: string,
  program: readonly string[],
  env: Readonly<Record<string, string>>,
  prelude = '',
): readonly string[] {
  const added = ['PWD', 'OLDPWD', 'SHLVL', '_'].filter((name) => env[name] === undefined)
  const unset = added.length > 0 ? `unset ${added.join(' ')}` : ':'
  return ['-c', LEAD, become(unset, prelude), directory, ...throughEnv(program, env)]
}

/** Is this the command line of the shim of `directory`? Holds also where the system shows arguments run together. */
export function isShimOf(argv: readonly string[], directory: string): boolean {
  return argv[1] === '-c' && `${argv.join(' ')} `.includes(` exec "$@" 3>&- 4>&- 5>&- ${directory} `)
}

/** Variables with names that no shell takes (`spring.port`) go around it, by env(1). */
function throughEnv(program: readonly string[], env: Readonly<Record<string, string>>): readonly string[] {
  const odd = Object.entries(env).filter(([name]) => !SHELL_NAME.test(name))
  if (odd.length === 0) return program
  return ['/usr/bin/env', ...odd.map(([name, value]) => `${name}=${value}`), ...program]
}
