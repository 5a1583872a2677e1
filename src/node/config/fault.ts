import { HsuError } from '../../base/error.ts'
import { formatPath, formatPlace, type Path, type Place } from './place.ts'

/** One thing that is wrong in a configuration. */
export interface Fault {
  readonly place: Place
  /** Empty for a fault of a whole file or of its syntax. */
  readonly path: Path
  /** What is wrong and what to do, without the place. */
  readonly text: string
  /** The value is well formed and documented, but this version does not do it yet. */
  readonly unsupported?: true
}

/** Takes the faults of a step one by one, so that a step can go on after the first. */
export type Report = (fault: Fault) => void

/** Faults a message names; a wrong file of another kind would otherwise give thousands. */
const MAX_NAMED = 100

/** One line a fault: `hsu.yaml:12:5: units.api.prots: unknown key; did you mean 'ports'?` */
export function formatFault({ place, path, text }: Fault): string {
  const parts = [formatPlace(place), ...(path.length === 0 ? [] : [formatPath(path)]), text]
  return parts.join(': ').replace(CONTROL, escapeChar)
}

/** Values are quoted in messages; one with a line break must not look like two faults, nor one steer a terminal. */
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g

function escapeChar(char: string): string {
  return char === '\n' ? '\\n' : `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`
}

/**
 * The error that names all faults, in the order of the files, each on a line of its own.
 * Its reason is `UNSUPPORTED` when the configuration is right and only asks for what this version lacks.
 */
export function faultError(faults: readonly Fault[], sources: readonly string[]): HsuError {
  const lines = [...new Set(inOrder(faults, sources).map(formatFault))]
  const named = lines.slice(0, MAX_NAMED)
  if (lines.length > named.length) named.push(`and ${lines.length - named.length} more faults`)
  const reason = faults.every((fault) => fault.unsupported === true) ? 'UNSUPPORTED' : 'CONFIG_INVALID'
  return new HsuError(reason, named.join('\n'), { details: { faults: lines.length } })
}

function inOrder(faults: readonly Fault[], sources: readonly string[]): readonly Fault[] {
  const rank = ({ place }: Fault): number => {
    const at = sources.indexOf(place.source)
    return at === -1 ? sources.length : at
  }
  return [...faults].sort((a, b) => rank(a) - rank(b) || a.place.line - b.place.line || a.place.column - b.place.column)
}
