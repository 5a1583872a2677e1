export type Stream = 'stdout' | 'stderr'

/** A line without its end: text when it is UTF-8, else the bytes. */
export type LineText = string | Buffer

/** Lines of one stream that were read together, as the log keeps them. */
export interface Block {
  /** When the node read them. */
  readonly wallMs: number
  readonly instance: string
  /** The unit's own program; undefined when nobody knew it. */
  readonly pid: number | undefined
  readonly stream: Stream
  /** Number of the first line. Counts the lines of an instance over both streams, from 0. */
  readonly seq: number
  /** Where what follows them begins in the raw file. */
  readonly endOffset: number
  /** May be empty: the raw file is consumed so far, and nothing of it was to be kept. */
  readonly lines: readonly LineText[]
}

/** How far the raw files of an instance are stored. */
export interface Progress {
  readonly stdout: number
  readonly stderr: number
  readonly nextSeq: number
}

export type ProgressMap = ReadonlyMap<string, Progress>

export const NO_PROGRESS: Progress = { stdout: 0, stderr: 0, nextSeq: 0 }

/** What JSON and its brackets may add to a line before base64 is the shorter form. */
const QUOTES = 8

/**
 * A block as one line of JSON: `{"t":ms,"i":instance,"d":pid,"s":"o|e","n":seq,"o":endOffset,"l":[line, ...]}`. A line is
 * text, or `[base64]` when it is not UTF-8 or when its control characters would make the text longer than that.
 */
export function encodeBlock({ wallMs, instance, pid, stream, seq, endOffset, lines }: Block): Buffer {
  const program = pid === undefined ? '' : `,"d":${pid}`
  const head = `{"t":${wallMs},"i":${JSON.stringify(instance)}${program},"s":"${stream === 'stdout' ? 'o' : 'e'}"`
  return Buffer.from(`${head},"n":${seq},"o":${endOffset},"l":${encodeLines(lines)}}\n`)
}

function encodeLines(lines: readonly LineText[]): string {
  // At once, which is much faster than one by one; looked at only when it came out long.
  if (lines.every((line) => typeof line === 'string')) {
    const json = JSON.stringify(lines)
    const chars = lines.reduce((sum, line) => sum + line.length, 0)
    if (json.length <= (chars * 4) / 3 + QUOTES) return json
  }
  return `[${lines.map(encodeLine).join(',')}]`
}

function encodeLine(line: LineText): string {
  if (typeof line === 'string') {
    const json = JSON.stringify(line)
    const bytes = Buffer.byteLength(line)
    if (Buffer.byteLength(json) <= QUOTES + (bytes * 4) / 3) return json
  }
  return `["${(typeof line === 'string' ? Buffer.from(line) : line).toString('base64')}"]`
}

const PROGRESS_PREFIX = '{"p":'

/** How far each known instance is stored, and when that was written: `{"p":{instance:[stdout,stderr,nextSeq]},"t":ms}`. */
export function encodeProgress(progress: ProgressMap, wallMs: number): Buffer {
  const entries = [...progress].map(([instance, { stdout, stderr, nextSeq }]) => [instance, [stdout, stderr, nextSeq]])
  return Buffer.from(`${PROGRESS_PREFIX}${JSON.stringify(Object.fromEntries(entries))},"t":${wallMs}}\n`)
}

export function isProgress(line: Buffer): boolean {
  return line.subarray(0, PROGRESS_PREFIX.length).equals(Buffer.from(PROGRESS_PREFIX))
}

/** Undefined for what holds no lines: progress, or a damaged record. */
export function decodeBlock(json: Buffer): Block | undefined {
  if (isProgress(json)) return undefined
  const { t, i, d, s, n, o, l } = parseObject(json)
  if (typeof t !== 'number' || typeof i !== 'string' || typeof n !== 'number' || typeof o !== 'number') return undefined
  if (!Array.isArray(l)) return undefined
  const pid = typeof d === 'number' ? d : undefined
  const lines = (l as unknown[]).map(decodeText)
  return { wallMs: t, instance: i, pid, stream: s === 'e' ? 'stderr' : 'stdout', seq: n, endOffset: o, lines }
}

function decodeText(value: unknown): LineText {
  if (typeof value === 'string') return value
  const [base64] = Array.isArray(value) ? (value as unknown[]) : []
  return Buffer.from(typeof base64 === 'string' ? base64 : '', 'base64')
}

/** Empty for what is no progress. */
export function decodeProgress(json: Buffer): ProgressMap {
  const { p } = parseObject(json)
  const map = new Map<string, Progress>()
  for (const [instance, value] of Object.entries(typeof p === 'object' && p !== null ? p : {})) {
    const [stdout, stderr, nextSeq] = (Array.isArray(value) ? value : []) as unknown[]
    if (typeof stdout !== 'number' || typeof stderr !== 'number' || typeof nextSeq !== 'number') continue
    map.set(instance, { stdout, stderr, nextSeq })
  }
  return map
}

/** When a record was written; undefined for what is none. */
export function writtenAtMs(json: Buffer): number | undefined {
  const { t } = parseObject(json)
  return typeof t === 'number' ? t : undefined
}

function parseObject(json: Buffer): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(json.toString('utf8'))
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}

/** The progress of `block`'s instance once it is stored. */
export function advance(
  progress: Progress,
  block: Omit<Block, 'lines' | 'pid'> & { readonly lines: number },
): Progress {
  return { ...progress, [block.stream]: block.endOffset, nextSeq: block.seq + block.lines }
}
