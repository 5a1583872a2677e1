import { isUtf8 } from 'node:buffer'

export type Stream = 'stdout' | 'stderr'

/** One line of an instance, as the log store keeps it. */
export interface LineRecord {
  /** When the node read it. */
  readonly wallMs: number
  readonly instance: string
  readonly stream: Stream
  /** Counts the lines of an instance over both streams, from 0. */
  readonly seq: number
  /** Where the next line begins in the raw file. */
  readonly endOffset: number
  readonly line: Uint8Array
}

/** How far the raw files of an instance are stored. */
export interface Progress {
  readonly stdout: number
  readonly stderr: number
  readonly nextSeq: number
}

export type ProgressMap = ReadonlyMap<string, Progress>

export const NO_PROGRESS: Progress = { stdout: 0, stderr: 0, nextSeq: 0 }

/**
 * A line as one line of JSON: `{"t":ms,"i":instance,"s":"o|e","n":seq,"o":endOffset,"l":text}`, or `"b":base64`
 * when it is not UTF-8 or when its control characters would make the text longer than that.
 */
export function encodeLine({ wallMs, instance, stream, seq, endOffset, line }: LineRecord): Buffer {
  const bytes = Buffer.from(line.buffer, line.byteOffset, line.byteLength)
  const head = `{"t":${wallMs},"i":${JSON.stringify(instance)},"s":"${stream === 'stdout' ? 'o' : 'e'}","n":${seq},"o":${endOffset}`
  const text = isUtf8(bytes) ? JSON.stringify(bytes.toString('utf8')) : undefined
  if (text !== undefined && text.length <= 8 + (bytes.length * 4) / 3) return Buffer.from(`${head},"l":${text}}\n`)
  return Buffer.from(`${head},"b":"${bytes.toString('base64')}"}\n`)
}

/** How far each known instance is stored, as one line: `{"p":{instance:[stdout,stderr,nextSeq]}}`. */
export function encodeProgress(progress: ProgressMap): Buffer {
  const entries = [...progress].map(([instance, { stdout, stderr, nextSeq }]) => [instance, [stdout, stderr, nextSeq]])
  return Buffer.from(`${PROGRESS_PREFIX}${JSON.stringify(Object.fromEntries(entries))}}\n`)
}

const PROGRESS_PREFIX = '{"p":'

export function isProgress(line: Buffer): boolean {
  return line.subarray(0, PROGRESS_PREFIX.length).equals(Buffer.from(PROGRESS_PREFIX))
}

/** Undefined for what is no line of an instance: progress, or a damaged record. */
export function decodeLine(json: Buffer): LineRecord | undefined {
  if (isProgress(json)) return undefined
  const { t, i, s, n, o, l, b } = parseObject(json)
  if (typeof t !== 'number' || typeof i !== 'string' || typeof n !== 'number' || typeof o !== 'number') return undefined
  const line = typeof l === 'string' ? Buffer.from(l) : Buffer.from(typeof b === 'string' ? b : '', 'base64')
  return { wallMs: t, instance: i, stream: s === 'e' ? 'stderr' : 'stdout', seq: n, endOffset: o, line }
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

function parseObject(json: Buffer): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(json.toString('utf8'))
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}

/** The progress of `record`'s instance once that line is stored. */
export function advance(progress: Progress, record: LineRecord): Progress {
  return { ...progress, [record.stream]: record.endOffset, nextSeq: record.seq + 1 }
}
