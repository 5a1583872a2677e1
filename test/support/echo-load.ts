import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import grpc from '@grpc/grpc-js'
import protoLoader from '@grpc/proto-loader'
import { repoRoot } from './paths.ts'

const SERVICE = protoLoader.loadSync(join(repoRoot, 'proto/echo/v1/echo.proto'), { defaults: true })[
  'echo.v1.EchoService'
] as Readonly<Record<string, grpc.MethodDefinition<object, object>>>

export type EchoClient = grpc.Client

/** Longer than any pause that is no failure. */
const DEADLINE_MS = 10_000

/** What callers met with. */
export interface LoadReport {
  readonly calls: number
  /** In words, one for each call that failed. */
  readonly failures: readonly string[]
  /** The longest that one call took. */
  readonly longestMs: number
}

export interface LoadOptions {
  /** So long each client rests between two calls. Default: not at all. */
  readonly restMs?: number
  /** Told of each call once it has ended, with why it failed if it did. */
  readonly onCall?: (tookMs: number, failure: string | undefined) => void
}

/** Calls of `echo.v1` through one address, from several clients with a connection each, one call after the other. */
export class EchoLoad {
  readonly #clients: readonly EchoClient[]
  readonly #failures: string[] = []
  readonly #callers: readonly Promise<void>[]
  readonly #options: LoadOptions
  #calls = 0
  #longestMs = 0
  #ended = false

  /** Begins at once. A client of its own for each of `clients`, as if they were programs of their own. */
  constructor(address: string, clients: number, options: LoadOptions = {}) {
    this.#options = options
    this.#clients = Array.from({ length: clients }, () => openEcho(address))
    this.#callers = this.#clients.map((client) => this.#keepCalling(client))
  }

  get calls(): number {
    return this.#calls
  }

  /** As in the report, so far. */
  get failures(): readonly string[] {
    return this.#failures
  }

  async end(): Promise<LoadReport> {
    this.#ended = true
    await Promise.all(this.#callers)
    for (const client of this.#clients) client.close()
    return { calls: this.#calls, failures: this.#failures, longestMs: this.#longestMs }
  }

  async #keepCalling(client: EchoClient): Promise<void> {
    const { restMs = 0, onCall } = this.#options
    while (!this.#ended) {
      const beganAtMs = performance.now()
      const failure = await faultOfEcho(client, 'hi')
      const tookMs = performance.now() - beganAtMs
      this.#longestMs = Math.max(this.#longestMs, tookMs)
      this.#calls += 1
      if (failure !== undefined) this.#failures.push(failure)
      onCall?.(tookMs, failure)
      if (restMs > 0) await pause(restMs)
    }
  }
}

/** A client with a connection of its own. */
export function openEcho(address: string): EchoClient {
  return new grpc.Client(address, grpc.credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 })
}

/** Makes one call; resolves with why it failed, if it did. */
export function faultOfEcho(client: EchoClient, message: string): Promise<string | undefined> {
  const { path, requestSerialize, responseDeserialize } = methodOf('Echo')
  const options = { deadline: Date.now() + DEADLINE_MS }
  return new Promise((resolve) => {
    const done = (error: grpc.ServiceError | null): void => resolve(error === null ? undefined : error.message)
    client.makeUnaryRequest(path, requestSerialize, responseDeserialize, { message }, options, done)
  })
}

/** How one call ended. */
export interface EchoAnswer {
  /** A gRPC status code. */
  readonly code: number
  readonly details: string
  /** Who answered; '' when nobody did. */
  readonly instance: string
  readonly tookMs: number
}

/** One call over a connection of its own, with metadata such as `hsu-unit`. */
export async function callEcho(address: string, metadata: Readonly<Record<string, string>> = {}): Promise<EchoAnswer> {
  const client = new grpc.Client(address, grpc.credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
    'grpc.enable_retries': 0,
  })
  const { path, requestSerialize, responseDeserialize } = methodOf('Echo')
  const given = new grpc.Metadata()
  for (const [key, value] of Object.entries(metadata)) given.set(key, value)
  const options = { deadline: Date.now() + 2 * DEADLINE_MS }
  const beganAtMs = performance.now()
  return new Promise<EchoAnswer>((resolve) => {
    const done = (error: grpc.ServiceError | null, answer?: object): void => {
      const { instance = '' } = (answer ?? {}) as { readonly instance?: string }
      const { code, details } = error ?? { code: grpc.status.OK, details: '' }
      resolve({ code, details, instance, tookMs: performance.now() - beganAtMs })
    }
    client.makeUnaryRequest(path, requestSerialize, responseDeserialize, { message: 'hi' }, given, options, done)
  }).finally(() => client.close())
}

/** A conversation that stays open: each line sent is answered. */
export class EchoChat {
  readonly #client: grpc.Client
  readonly #call: grpc.ClientDuplexStream<object, object>
  readonly #answers: AsyncIterator<{ message: string }>

  constructor(address: string, metadata: Readonly<Record<string, string>> = {}) {
    this.#client = openEcho(address)
    const { path, requestSerialize, responseDeserialize } = methodOf('Chat')
    const given = new grpc.Metadata()
    for (const [key, value] of Object.entries(metadata)) given.set(key, value)
    this.#call = this.#client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, given)
    this.#answers = this.#call[Symbol.asyncIterator]() as AsyncIterator<{ message: string }>
  }

  /** The answer to `message`; undefined when the conversation is over. @throws what grpc-js throws */
  async say(message: string): Promise<string | undefined> {
    this.#call.write({ message })
    const answer = await this.#answers.next()
    return answer.done === true ? undefined : answer.value.message
  }

  close(): void {
    this.#call.cancel()
    this.#client.close()
  }
}

function methodOf(name: string): grpc.MethodDefinition<object, object> {
  const method = SERVICE[name]
  if (method === undefined) throw new Error(`echo.v1.EchoService has no method ${name}`)
  return method
}
