/** How lines are understood: what their level and their message are. */
export const PARSE_MODES = ['auto', 'json', 'logfmt', 'none'] as const
export type ParseMode = (typeof PARSE_MODES)[number]

/** From the least to the most severe. */
export const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const
export type Level = (typeof LEVELS)[number]

/** What a line says of itself. */
export interface Meaning {
  readonly level: Level | undefined
  /** The text apart from its trimmings; undefined when the line is nothing but text. */
  readonly message: string | undefined
}

const UNKNOWN: Meaning = { level: undefined, message: undefined }

const NAMES: Readonly<Record<string, Level>> = {
  trace: 'trace',
  verbose: 'debug',
  debug: 'debug',
  dbg: 'debug',
  info: 'info',
  information: 'info',
  notice: 'info',
  warn: 'warn',
  warning: 'warn',
  error: 'error',
  err: 'error',
  fatal: 'fatal',
  panic: 'fatal',
  critical: 'fatal',
  crit: 'fatal',
  alert: 'fatal',
  emerg: 'fatal',
  emergency: 'fatal',
}

const LEVEL_KEYS = ['level', 'severity', 'lvl', 'log.level', 'levelname', 'loglevel', '@l']
const MESSAGE_KEYS = ['msg', 'message', 'event', 'text', '@m']

/** The severities of syslog (RFC 5424, 6.2.1), as sd-daemon(3) prefixes lines with them: `<3>text`. */
const SEVERITIES: readonly Level[] = ['fatal', 'fatal', 'fatal', 'error', 'warn', 'info', 'info', 'debug']

/** A level name as a word of its own among the first words of a line, in capitals or in brackets or before a colon. */
const WORD = /(?:^|[\s[(|])(TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|ERR|FATAL|PANIC|CRITICAL|CRIT)(?=$|[\s\])|:])/
const MARKED = /(?:^|\s)(?:\[(\w{3,11})\]|(\w{4,11}):)(?=\s|$)/
/** The header of glog and klog: `E0102 15:04:05.000000`. */
const GLOG = /^([IWEF])\d{4} \d\d:\d\d:\d\d/
const GLOG_LEVELS: Readonly<Record<string, Level>> = { I: 'info', W: 'warn', E: 'error', F: 'fatal' }
/** A level stands near the beginning, or it is a word of the text. */
const HEAD_CHARS = 64

/** The level and the message of a line. */
export function parseLine(line: string, mode: ParseMode): Meaning {
  switch (mode) {
    case 'none':
      return UNKNOWN
    case 'json':
      return parseJson(line) ?? UNKNOWN
    case 'logfmt':
      return parseLogfmt(line) ?? UNKNOWN
    case 'auto':
      return parseJson(line) ?? parseLogfmtSurely(line) ?? parseText(line)
  }
}

/** Whether `level` is at least as severe as `least`; a line without a level is not. */
export function isAtLeast(level: Level | undefined, least: Level): boolean {
  return level !== undefined && LEVELS.indexOf(level) >= LEVELS.indexOf(least)
}

/** The level of this name or of this number of pino and bunyan; undefined when it is none. */
export function levelOf(value: unknown): Level | undefined {
  if (typeof value === 'number') return LEVELS[Math.min(LEVELS.length, Math.max(1, Math.floor(value / 10))) - 1]
  return typeof value === 'string' ? NAMES[value.toLowerCase()] : undefined
}

function parseJson(line: string): Meaning | undefined {
  if (!line.trimStart().startsWith('{')) return undefined
  try {
    const value = JSON.parse(line) as Readonly<Record<string, unknown>>
    const found = (keys: readonly string[]): unknown => keys.map((key) => value[key]).find((each) => each !== undefined)
    return { level: levelOf(found(LEVEL_KEYS)), message: textOf(found(MESSAGE_KEYS)) }
  } catch {
    return undefined
  }
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}

/** Text may hold a `=` by chance; a level or a message of its own is needed to take a line for logfmt. */
function parseLogfmtSurely(line: string): Meaning | undefined {
  if (!/(?:^|\s)(?:level|lvl|severity|msg)=/.test(line)) return undefined
  return parseLogfmt(line)
}

function parseLogfmt(line: string): Meaning | undefined {
  const pairs = new Map<string, string>()
  for (const [, key = '', quoted, plain = ''] of line.matchAll(/([^\s="]+)=(?:"((?:[^"\\]|\\.)*)"|(\S*))/g)) {
    if (!pairs.has(key)) pairs.set(key, quoted === undefined ? plain : quoted.replace(/\\(.)/g, '$1'))
  }
  if (pairs.size === 0) return undefined
  const found = (keys: readonly string[]): string | undefined =>
    keys.map((key) => pairs.get(key)).find((each) => each !== undefined)
  return { level: levelOf(found(LEVEL_KEYS)), message: found(MESSAGE_KEYS) }
}

function parseText(line: string): Meaning {
  const severity = /^<([0-7])>/.exec(line)?.[1]
  if (severity !== undefined) return { level: SEVERITIES[Number(severity)], message: line.slice(3) }
  const glog = GLOG.exec(line)?.[1]
  if (glog !== undefined) return { level: GLOG_LEVELS[glog], message: undefined }
  const head = line.slice(0, HEAD_CHARS)
  const [, bracketed, before] = MARKED.exec(head) ?? []
  return { level: levelOf(WORD.exec(head)?.[1]) ?? levelOf(bracketed ?? before), message: undefined }
}
