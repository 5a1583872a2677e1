/** Text with its variables filled in, and what was wrong with them. */
export interface Interpolated {
  readonly text: string
  /** False when the text holds no `${` and no `$$`. */
  readonly changed: boolean
  readonly faults: readonly string[]
}

export type Variables = Readonly<Record<string, string>>

const HOW = 'write ${NAME}, ${NAME:-default}, or $$ for a plain $'

/** Defaults within defaults, `${A:-${B:-c}}`, may be this deep. */
const MAX_DEPTH = 10

/** Fills in `${NAME}` and `${NAME:-default}` (the default also replaces an empty value) and turns `$$` into `$`. */
export function interpolate(text: string, variables: Variables, depth = 0): Interpolated {
  const faults: string[] = []
  let out = ''
  let changed = false
  let index = 0
  while (index < text.length) {
    const two = text.slice(index, index + 2)
    if (two !== '$$' && two !== '${') {
      out += text[index] as string
      index += 1
      continue
    }
    changed = true
    if (two === '$$') {
      out += '$'
      index += 2
      continue
    }
    const end = closingBrace(text, index + 2)
    const filled = fill(text.slice(index, end), variables, depth)
    faults.push(...filled.faults)
    out += filled.text
    index = end
  }
  return { text: out, changed, faults }
}

/** The index after the brace that closes the variable whose inside begins at `from`; the end of the text when none does. */
function closingBrace(text: string, from: number): number {
  let open = 1
  for (let index = from; index < text.length; index += 1) {
    if (text.startsWith('${', index)) open += 1
    else if (text[index] === '}') open -= 1
    if (open === 0) return index + 1
  }
  return text.length
}

function fill(variable: string, variables: Variables, depth: number): Omit<Interpolated, 'changed'> {
  const match = /^\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^]*))?\}$/.exec(variable)
  if (match === null || depth >= MAX_DEPTH)
    return { text: variable, faults: [`'${variable}' is not a variable; ${HOW}`] }
  const [, name = '', fallback] = match
  const value = Object.hasOwn(variables, name) ? variables[name] : undefined
  if (value !== undefined && (value !== '' || fallback === undefined)) return { text: value, faults: [] }
  if (fallback !== undefined) return interpolate(fallback, variables, depth + 1)
  return {
    text: variable,
    faults: [`\${${name}} is not set; set it in the environment or in .env, or write \${${name}:-default}`],
  }
}

/** Protects text from `interpolate`: `interpolate(escapeDollars(text), {}).text` is `text`. */
export function escapeDollars(text: string): string {
  return /\$[${]/.test(text) ? text.replaceAll('$', '$$$$') : text
}

/** The value of a plain scalar in YAML 1.2's core schema (YAML 1.2.2, section 10.3.2); undefined for null. */
export function coreScalar(text: string): string | number | boolean | undefined {
  if (/^(null|Null|NULL|~)$/.test(text)) return undefined
  if (/^(true|True|TRUE)$/.test(text)) return true
  if (/^(false|False|FALSE)$/.test(text)) return false
  if (/^[-+]?[0-9]+$/.test(text)) return Number.parseInt(text, 10)
  if (/^0o[0-7]+$/.test(text)) return Number.parseInt(text.slice(2), 8)
  if (/^0x[0-9a-fA-F]+$/.test(text)) return Number.parseInt(text.slice(2), 16)
  if (/^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$/.test(text)) return Number.parseFloat(text)
  return text
}
