/** Variables that a shell, a login, systemd or a node sets by itself: they say nothing of how the program is to run. */
const NOISE = [
  /^(_|SHLVL|PWD|OLDPWD|TERM|TERM_PROGRAM.*|COLORTERM|COLUMNS|LINES|LS_COLORS|LESS.*|MAIL|HIST.*|PS\d|EDITOR|VISUAL|PAGER)$/,
  /^(SSH_.*|SUDO_.*|DISPLAY|WAYLAND_.*|XAUTHORITY|XDG_SESSION.*|XDG_SEAT|XDG_VTNR|DBUS_.*|WINDOWID|VTE_.*|TMUX.*|STY|KITTY_.*|LC_TERMINAL.*)$/,
  /^(INVOCATION_ID|JOURNAL_STREAM|NOTIFY_SOCKET|LISTEN_(PID|FDS|FDNAMES)|MAINPID|MANAGERPID|SYSTEMD_EXEC_PID|MEMORY_PRESSURE_.*|WATCHDOG_.*|RUNTIME_DIRECTORY|CREDENTIALS_DIRECTORY)$/,
  /^(HSU_.*|GRPC_XDS_BOOTSTRAP|OTEL_SERVICE_NAME|OTEL_RESOURCE_ATTRIBUTES)$/,
]

export function isNoise(name: string): boolean {
  return NOISE.some((pattern) => pattern.test(name))
}

const SECRET_NAME =
  /(^|[_.-])(pass|passwd|password|passphrase|pwd|secret|secrets|token|tokens|credential|credentials|apikey|cookie|bearer|auth|key|dsn)([_.-]|$)|password|passwd|secret|token|api_?key|accesskey/i

/** What gives a secret away whatever it is called: a password in an address, and the forms of well known tokens. */
const SECRET_VALUE =
  /\/\/[^/\s:@]*:[^/\s@]+@|-----BEGIN [A-Z ]*PRIVATE KEY|\beyJ[\w-]{8,}\.[\w-]+\.|\bAKIA[0-9A-Z]{12,}|\bgh[pousr]_\w{20,}|\bxox[abpr]-|\bsk-[\w-]{16,}/

/** Where a secret lies is no secret; nor is a switch, or nothing. */
const HARMLESS = /^(|\.{0,2}\/[^\s:@]*|true|false|yes|no|on|off|none|null|\d{1,3})$/i

/** Tells what looks like a secret: by its name, or by its own form. Errs on the side of calling it one. */
export const redact = {
  variable(name: string, value: string): boolean {
    return SECRET_VALUE.test(value) || (SECRET_NAME.test(name) && !HARMLESS.test(value))
  },

  /** The secret in one word of a command line: `--password=x`, or what follows `--password`. Undefined = there is none. */
  argument(word: string, flag: string, index: number): { before: string; variable: string } | undefined {
    const [, name = '', value = ''] = /^(-{0,2}[\w.-]+)=(.*)$/s.exec(word) ?? []
    if (name !== '' && redact.variable(name, value))
      return { before: `${name}=`, variable: variableOf(name, `ARGUMENT_${index}`) }
    if (SECRET_VALUE.test(word)) return { before: '', variable: `ARGUMENT_${index}` }
    const follows = /^--?[\w.-]+$/.test(flag) && !word.startsWith('-')
    return follows && redact.variable(flag, word)
      ? { before: '', variable: variableOf(flag, `ARGUMENT_${index}`) }
      : undefined
  },
}

/** The name of a variable for what is called `name`: `--db-password` is `DB_PASSWORD`, and a fit name is itself. */
export function variableOf(name: string, otherwise: string): string {
  if (/^[A-Za-z_]\w*$/.test(name)) return name
  const plain = name
    .toUpperCase()
    .replace(/[^A-Z0-9]+/g, '_')
    .replace(/^_+|_+$/g, '')
  return /^[A-Z]/.test(plain) ? plain : otherwise
}
