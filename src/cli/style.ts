/** Colours for people; without a terminal every function returns its text as it is. */
export interface Style {
  good(text: string): string
  bad(text: string): string
  warn(text: string): string
  faint(text: string): string
  strong(text: string): string
}

const paint =
  (open: number, close: number) =>
  (text: string): string =>
    `\u001B[${open}m${text}\u001B[${close}m`

/** SGR codes of ECMA-48, which every terminal in use understands. */
const COLOURED: Style = {
  good: paint(32, 39),
  bad: paint(31, 39),
  warn: paint(33, 39),
  faint: paint(2, 22),
  strong: paint(1, 22),
}

const same = (text: string): string => text

export const PLAIN: Style = { good: same, bad: same, warn: same, faint: same, strong: same }

/** Colour only on a terminal, and never when `NO_COLOR` is set and not empty (https://no-color.org). */
export function styleFor(isTty: boolean, env: Readonly<Record<string, string | undefined>>): Style {
  return isTty && (env['NO_COLOR'] ?? '') === '' && env['TERM'] !== 'dumb' ? COLOURED : PLAIN
}

/** Colours a unit's or a node's state by what it means to a person. */
export function paintState(state: string, style: Style): string {
  switch (state) {
    case 'up':
    case 'completed':
    case 'alive':
    case 'ok':
    case 'healthy':
      return style.good(state)
    case 'starting':
    case 'stopping':
    case 'backoff':
    case 'suspect':
    case 'ambiguous':
    case 'degraded':
    case 'warning':
      return style.warn(state)
    case 'failed':
    case 'unhealthy':
    case 'absent':
    case 'dead':
    case 'removed':
      return style.bad(state)
    default:
      return style.faint(state)
  }
}
