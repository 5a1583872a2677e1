import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type IncomingHttpHeaders,
} from 'node:http2'
import { setTimeout as pause } from 'node:timers/promises'
import { seeded } from '../../src/sim/seeded.ts'

/** What a caller does; `weight` of all weights is its share. */
interface Habit {
  readonly name: string
  readonly weight: number
  readonly run: (place: Place) => Promise<void>
}

/** One ingress, and the connection that most calls to it share. */
interface Place {
  readonly address: string
  shared: ClientHttp2Session
}

const HABITS: readonly Habit[] = [
  { name: 'unary of 100 B', weight: 70, run: ({ shared }) => unary(shared, 100) },
  { name: 'unary of 10 kB', weight: 12, run: ({ shared }) => unary(shared, 10_000) },
  { name: 'unary of 1 MB', weight: 1, run: ({ shared }) => unary(shared, 1_000_000) },
  { name: 'stream of a second', weight: 5, run: ({ shared }) => conversation(shared) },
  { name: 'cancelled stream', weight: 5, run: ({ shared }) => cancelled(shared) },
  { name: 'connection for one call', weight: 5, run: ({ address }) => visit(address) },
  { name: 'connection cut in a call', weight: 2, run: ({ address }) => cut(address) },
]

const TICK_MS = 20
const MESSAGES = 20
const MESSAGE_BYTES = 1_000
const BETWEEN_MESSAGES_MS = 50

/** Calls under way at once; beyond, the load is behind and says so. */
const MAX_UNDER_WAY = 500

/** Longer than any call takes here. */
const CALL_TIMEOUT_MS = 30_000

/** What became of the calls of one habit. */
export interface HabitReport {
  readonly name: string
  readonly begun: number
  /** In words; the first few. */
  readonly failures: readonly string[]
  readonly failed: number
}

const MAX_FAILURES_TOLD = 5

/** Calls of all kinds at a steady rate, through several addresses in turn. */
export class MixedLoad {
  readonly #places: readonly Place[]
  readonly #reports = new Map<string, { begun: number; failed: number; failures: string[] }>()
  readonly #underWay = new Set<Promise<void>>()
  readonly #done: Promise<void>
  /** Calls that were due and not begun, because too many were under way. */
  skipped = 0
  #over = false

  /** Begins at once. */
  constructor(addresses: readonly string[], perSecond: number, seed: number) {
    this.#places = addresses.map((address) => ({ address, shared: open(address) }))
    this.#done = this.#run(perSecond, seed)
  }

  /** Begins nothing more and resolves when all that was under way has ended and all connections are closed. */
  async end(): Promise<readonly HabitReport[]> {
    this.#over = true
    await this.#done
    await Promise.all(this.#underWay)
    for (const { shared } of this.#places) await closed(shared)
    return [...this.#reports].map(([name, report]) => ({ name, ...report }))
  }

  async #run(perSecond: number, seed: number): Promise<void> {
    const random = seeded(seed)
    const weights = HABITS.reduce((sum, { weight }) => sum + weight, 0)
    const beganAtMs = performance.now()
    let begun = 0
    while (!this.#over) {
      const due = Math.floor(((performance.now() - beganAtMs) * perSecond) / 1_000)
      for (; begun < due; begun += 1) {
        const place = this.#places[begun % this.#places.length]
        let at = random.next() * weights
        const habit = HABITS.find(({ weight }) => (at -= weight) < 0)
        if (place !== undefined && habit !== undefined) this.#begin(place, habit)
      }
      await pause(TICK_MS)
    }
  }

  #begin(place: Place, { name, run }: Habit): void {
    if (this.#underWay.size >= MAX_UNDER_WAY) {
      this.skipped += 1
      return
    }
    if (place.shared.destroyed || place.shared.closed) place.shared = open(place.address)
    const report = this.#reports.get(name) ?? { begun: 0, failed: 0, failures: [] }
    this.#reports.set(name, report)
    report.begun += 1
    const call = run(place).catch((error: unknown) => {
      report.failed += 1
      if (report.failures.length < MAX_FAILURES_TOLD) report.failures.push(String(error))
    })
    const ended = call.finally(() => this.#underWay.delete(ended))
    this.#underWay.add(ended)
  }
}

function open(address: string): ClientHttp2Session {
  const session = connect(`http://${address}`)
  session.on('error', () => undefined)
  return session
}

function closed(session: ClientHttp2Session): Promise<void> {
  return new Promise((resolve) => {
    if (session.destroyed) resolve()
    session.once('close', () => resolve())
    session.close()
  })
}

interface Stream {
  readonly stream: ClientHttp2Stream
  /** Resolves with the bytes of the answer. @throws Error when it is not complete or says that the call failed */
  readonly over: Promise<number>
}

function begin(session: ClientHttp2Session): Stream {
  const stream = session.request({
    ...{ ':method': 'POST', ':path': '/echo.Echo/Unary', 'content-type': 'application/grpc', te: 'trailers' },
  })
  const over = new Promise<number>((resolve, reject) => {
    let bytes = 0
    let status: unknown
    stream.setTimeout(CALL_TIMEOUT_MS, () => stream.destroy(new Error('no answer')))
    stream.on('data', (chunk: Buffer) => (bytes += chunk.length))
    stream.on('response', (headers: IncomingHttpHeaders) => (status ??= headers['grpc-status']))
    stream.on('trailers', (trailers: IncomingHttpHeaders) => (status = trailers['grpc-status']))
    stream.on('error', reject)
    stream.on('close', () => {
      if (status === '0') resolve(bytes)
      else reject(new Error(`status ${String(status)}, reset with ${stream.rstCode}`))
    })
  })
  over.catch(() => undefined)
  return { stream, over }
}

function message(bytes: number): Buffer {
  const frame = Buffer.alloc(5 + bytes, 'a')
  frame[0] = 0
  frame.writeUInt32BE(bytes, 1)
  return frame
}

async function unary(session: ClientHttp2Session, bytes: number): Promise<void> {
  const { stream, over } = begin(session)
  stream.end(message(bytes))
  await complete(over, bytes + 5)
}

async function conversation(session: ClientHttp2Session): Promise<void> {
  const { stream, over } = begin(session)
  for (let count = 0; count < MESSAGES; count += 1) {
    stream.write(message(MESSAGE_BYTES))
    await pause(BETWEEN_MESSAGES_MS)
  }
  stream.end()
  await complete(over, MESSAGES * (MESSAGE_BYTES + 5))
}

async function cancelled(session: ClientHttp2Session): Promise<void> {
  const { stream } = begin(session)
  stream.write(message(MESSAGE_BYTES))
  await firstBytes(stream)
  stream.close(constants.NGHTTP2_CANCEL)
}

async function visit(address: string): Promise<void> {
  const session = open(address)
  try {
    await unary(session, 100)
  } finally {
    await closed(session)
  }
}

async function cut(address: string): Promise<void> {
  const session = open(address)
  const { stream } = begin(session)
  stream.write(message(MESSAGE_BYTES))
  try {
    await firstBytes(stream)
  } finally {
    session.destroy()
  }
}

function firstBytes(stream: ClientHttp2Stream): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.once('data', () => resolve())
    stream.once('close', () => reject(new Error('no answer came')))
  })
}

async function complete(over: Promise<number>, expected: number): Promise<void> {
  const bytes = await over
  if (bytes !== expected) throw new Error(`${bytes} bytes of ${expected} came back`)
}
