import { Document, isMap, isScalar, type Pair, Scalar, visit } from 'yaml'
import { type ListeningPort, type Portrait, wellKnown } from '../../process/index.ts'
import { escapeDollars } from './interpolate.ts'
import { isNoise, redact, variableOf } from './secrets.ts'

/** How a node would run a process that runs already. */
export interface Adoption {
  /** A whole configuration file. */
  readonly yaml: string
  /** What a person must know or do before it is used, one line each. */
  readonly notes: string[]
}

/** Ports that the system hands out (Linux: net.ipv4.ip_local_port_range): they will be others next time. */
const FIRST_EPHEMERAL = 32_768

/** Writes the configuration that starts a process like the one of `portrait`. What looks like a secret is not in it. */
export function adoptionOf(unit: string, portrait: Portrait): Adoption {
  const { identity, argv, cwd, env = {}, user, ownUser } = portrait
  const known = wellKnown(argv[0] ?? '')
  const notes: string[] = []
  const secrets: Secret[] = []
  const keys = {
    kind: 'managed',
    run: commandOf(known?.inForeground?.(argv) ?? argv, secrets),
    cwd,
    ...(ownUser || user === undefined ? {} : { user }),
    env: environmentOf(env, secrets),
    env_inherit: [],
    ...portsOf(portrait, notes),
    ...(known?.stopSignal === undefined ? {} : { stop: { signal: known.stopSignal } }),
  }
  if (portrait.rewritten) notes.push('the process hides how it was called; compare run with how it is started now')
  if (known?.inForeground !== undefined) {
    notes.push('run says that it is to stay in the foreground; leave that out when its own configuration says so')
  }
  if (known === undefined && portrait.orphan) {
    notes.push(
      'its parent is process 1: should it go into the background by itself, add the option that keeps it from it',
    )
  }
  if (!ownUser) notes.push(`user: ${user ?? '?'} needs a node that runs as root`)
  for (const { variable, from } of secrets) {
    notes.push(`${from} looks like a secret and is left out; put ${variable}=... into .env beside this file`)
  }
  for (const text of [...keys.run, ...Object.values(keys.env)].filter(looksLikeTemplate)) {
    notes.push(`'${text}' holds what would be read as a template of HSU; write it in another way`)
  }
  notes.push(`end process ${identity.pid} before this unit is started: two of them would be in each other's way`)
  return { yaml: toYaml(unit, keys, notes), notes }
}

interface Secret {
  /** What stands in its place. */
  readonly variable: string
  readonly from: string
}

function commandOf(argv: readonly string[], secrets: Secret[]): string[] {
  let flag = ''
  return argv.map((word, index) => {
    const found = index === 0 ? undefined : redact.argument(word, flag, index)
    flag = word
    if (found === undefined) return escapeDollars(word)
    secrets.push({ variable: found.variable, from: `argument ${index}` })
    return `${escapeDollars(found.before)}\${${found.variable}:-}`
  })
}

function environmentOf(env: Readonly<Record<string, string>>, secrets: Secret[]): Record<string, string> {
  const entries = Object.entries(env).filter(([name]) => !isNoise(name))
  return Object.fromEntries(
    entries
      .sort(([a], [b]) => a.localeCompare(b))
      .map(([name, value]) => {
        if (!redact.variable(name, value)) return [name, escapeDollars(value)]
        const variable = variableOf(name, 'SECRET')
        secrets.push({ variable, from: name })
        return [name, `\${${variable}:-}`]
      }),
  )
}

/** Fixed ports by protocol and number. The one that the environment calls PORT, if any, comes first: so it stays. */
function portsOf({ listeners, argv, env = {} }: Portrait, notes: string[]): { ports?: Record<string, number> } {
  const named = (port: number): boolean => [...argv, ...Object.values(env)].some((text) => text.includes(String(port)))
  const isFixed = ({ port }: ListeningPort): boolean => port < FIRST_EPHEMERAL || named(port)
  const fixed = listeners.filter(isFixed)
  for (const { protocol, address, port } of listeners.filter((each) => !isFixed(each))) {
    notes.push(`it listens on ${protocol} ${address} port ${port}, which seems to be chosen by the system`)
  }
  const first = (a: ListeningPort, b: ListeningPort): number =>
    Number(env['PORT'] === String(b.port)) - Number(env['PORT'] === String(a.port))
  const entries = [...fixed].sort(first).map(({ protocol, port }) => [`${protocol}${port}`, port] as const)
  return entries.length === 0 ? {} : { ports: Object.fromEntries(entries) }
}

function looksLikeTemplate(text: string): boolean {
  return /(?<!\{)\{([a-z_]+(?:\.[A-Za-z0-9_-]+)?)\}(?!\})/.test(text)
}

function toYaml(unit: string, keys: object, notes: readonly string[]): string {
  const document = new Document({ version: 1, units: { [unit]: keys } }, { aliasDuplicateObjects: false })
  document.commentBefore = [
    ` How the process of unit ${unit} was running, written by hsu adopt.`,
    ...notes.map((note) => ` - ${note}`),
  ].join('\n')
  visit(document, {
    Scalar: (_, node) => writeOnOneLine(node),
    Pair: (_, pair) => markSecret(pair),
    Seq: (_, node) => {
      node.flow = true
    },
  })
  return document.toString({ lineWidth: 0, flowCollectionPadding: false })
}

function writeOnOneLine(node: Scalar): void {
  if (typeof node.value === 'string' && /[\n\r\t]|^\s|\s$/.test(node.value)) node.type = Scalar.QUOTE_DOUBLE
}

function markSecret({ key, value }: Pair): void {
  if (isMap(value) || !isScalar(key) || !isScalar(value)) return
  if (/^\$\{\w+:-\}$/.test(String(value.value))) value.comment = ' a secret, from .env or the environment of the node'
}
