import { basename } from 'node:path'

/** What is known of a program that neither its process nor the system tells. */
export interface WellKnown {
  /** How it was called, from the title that it wrote over its arguments; undefined when that does not tell. */
  readonly calledAs?: (title: string) => readonly string[] | undefined
  /** How to call it so that it stays in the foreground, as whoever supervises it needs. */
  readonly inForeground?: (argv: readonly string[]) => readonly string[]
  /** By which signal it ends in good order, where TERM does not do. */
  readonly stopSignal?: 'INT' | 'QUIT'
}

const PROGRAMS: ReadonlyMap<string, WellKnown> = new Map([
  ['nginx', { calledAs: nginxCall, inForeground: nginxInForeground, stopSignal: 'QUIT' }],
  // At TERM it waits until the last client has gone.
  ['postgres', { stopSignal: 'INT' }],
  ['redis-server', { calledAs: redisCall, inForeground: redisInForeground }],
  ['sshd', { calledAs: sshdCall, inForeground: (argv) => withFlag(argv, '-D') }],
] satisfies [string, WellKnown][])

/** `program` with or without its directory. */
export function wellKnown(program: string): WellKnown | undefined {
  return PROGRAMS.get(basename(program))
}

/** `nginx: master process nginx -c /etc/nginx.conf -g daemon on;`. What follows -g was one argument. */
function nginxCall(title: string): readonly string[] | undefined {
  const words = wordsOf(/^nginx: master process (.+)$/.exec(title)?.[1])
  const start = words?.indexOf('-g') ?? -1
  if (words === undefined || start < 0) return words
  const length = words.slice(start + 1).findIndex((word) => /^-[a-zA-Z]$/.test(word))
  const end = length < 0 ? words.length : start + 1 + length
  return [...words.slice(0, start + 1), words.slice(start + 1, end).join(' '), ...words.slice(end)]
}

function nginxInForeground(argv: readonly string[]): readonly string[] {
  const at = argv.indexOf('-g')
  const settings = at < 0 ? '' : (argv[at + 1] ?? '').replace(/(^|;)\s*daemon\s+(on|off)\s*(;|$)/, '$1').trim()
  const others = at < 0 ? argv : argv.toSpliced(at, 2)
  return [...others, '-g', `daemon off; ${settings}`.trim()]
}

/** `redis-server 127.0.0.1:6379`, followed by its mode where that is not the usual one. */
function redisCall(title: string): readonly string[] | undefined {
  const [, address, port] = /^redis-server (\*|\[[\da-f:]+\]|[\d.]+):(\d+)$/.exec(title) ?? []
  if (address === undefined || port === undefined) return undefined
  const bind = address === '*' ? [] : ['--bind', address.replace(/^\[|\]$/g, '')]
  return ['redis-server', ...bind, '--port', port]
}

function redisInForeground(argv: readonly string[]): readonly string[] {
  const at = argv.indexOf('--daemonize')
  return [...(at < 0 ? argv : argv.toSpliced(at, 2)), '--daemonize', 'no']
}

/** `sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups`. */
function sshdCall(title: string): readonly string[] | undefined {
  return wordsOf(/^sshd: (.+?)(?: \[listener\].*)?$/.exec(title)?.[1])
}

function withFlag(argv: readonly string[], flag: string): readonly string[] {
  return argv.includes(flag) ? argv : [...argv, flag]
}

function wordsOf(text: string | undefined): readonly string[] | undefined {
  return text?.trim().split(/\s+/)
}
