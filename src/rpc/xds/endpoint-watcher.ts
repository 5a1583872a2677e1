import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2 } from 'node:http2'
import { connect as connectTcp } from 'node:net'
import { withSignal } from '../../base/abort.ts'
import { type BackoffPolicy, backoffMs } from '../../base/backoff.ts'
import type { Clock } from '../../base/clock.ts'
import type { Random } from '../../base/random.ts'
import { decode, encode, type Message, typeUrl } from './fields.ts'
import { framed, messageReader } from './framing.ts'

export type Assignment = Message<'ClusterLoadAssignment'>

export interface WatcherSeams {
  readonly clock: Clock
  readonly random: Random
}

export interface WatcherConfig {
  /** `unix:///path`, `unix:/path` or `host:port`. */
  readonly server: string
  readonly node: Message<'Node'>
}

const ADS_PATH = '/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources'

/** Waits between two tries to reach the node. */
const RECONNECT: BackoffPolicy = { minMs: 100, maxMs: 2_000, factor: 2, jitter: 0.2 }

/**
 * Asks a node where services are and goes on to be told, over one stream for all names. While the node is away, what was
 * heard last stays; nothing here keeps the process alive.
 */
export class EndpointWatcher {
  readonly #seams: WatcherSeams
  readonly #config: WatcherConfig
  readonly #listeners = new Map<string, Set<(assignment: Assignment) => void>>()
  readonly #known = new Map<string, Assignment>()
  #running: AbortController | undefined
  #stream: ClientHttp2Stream | undefined
  #nonce = ''
  #version = ''

  constructor(seams: WatcherSeams, config: WatcherConfig) {
    this.#seams = seams
    this.#config = config
  }

  /** Calls `listener` with what is known, if anything, and with each change. Returns the function that ends it. */
  watch(name: string, listener: (assignment: Assignment) => void): () => void {
    const listeners = this.#listeners.get(name) ?? new Set()
    const isNew = listeners.size === 0
    listeners.add(listener)
    this.#listeners.set(name, listeners)
    const known = this.#known.get(name)
    if (known !== undefined) listener(known)
    if (this.#running === undefined) void this.#run()
    else if (isNew) this.#ask()
    return () => this.#unwatch(name, listener)
  }

  #unwatch(name: string, listener: (assignment: Assignment) => void): void {
    const listeners = this.#listeners.get(name)
    listeners?.delete(listener)
    if (listeners?.size !== 0) return
    this.#listeners.delete(name)
    this.#known.delete(name)
    if (this.#listeners.size === 0) this.#running?.abort()
    else this.#ask()
  }

  async #run(): Promise<void> {
    const running = new AbortController()
    this.#running = running
    for (let failures = 0; !running.signal.aborted; failures += 1) {
      if (await withSignal(running.signal, (signal) => this.#follow(signal))) failures = 0
      const waitMs = backoffMs(failures + 1, RECONNECT, this.#seams.random)
      await this.#seams.clock.sleep(waitMs, running.signal).catch(() => undefined)
    }
    if (this.#running === running) this.#running = undefined
    // Somebody may have begun to watch between the last look and now.
    if (this.#listeners.size > 0 && this.#running === undefined) void this.#run()
  }

  /** One connection from its beginning to its end; true when the node answered. Never rejects. */
  #follow(signal: AbortSignal): Promise<boolean> {
    return new Promise((resolve) => {
      let answered = false
      const session = sessionTo(this.#config.server)
      const end = (): void => session.destroy()
      signal.addEventListener('abort', end)
      session.on('error', ignore)
      session.on('close', () => {
        this.#stream = undefined
        resolve(answered)
      })
      const stream = session.request({
        ...{ ':method': 'POST', ':path': ADS_PATH },
        ...{ 'content-type': 'application/grpc', te: 'trailers' },
      })
      this.#stream = stream
      this.#nonce = this.#version = ''
      const read = messageReader((bytes) => {
        answered = true
        this.#take(decode('DiscoveryResponse', bytes))
      })
      stream.on('data', (chunk: Buffer) => {
        try {
          read(chunk)
        } catch {
          end()
        }
      })
      stream.on('error', ignore)
      stream.on('close', end)
      this.#ask()
    })
  }

  #take({ nonce = '', version_info = '', resources = [] }: Message<'DiscoveryResponse'>): void {
    this.#nonce = nonce
    this.#version = version_info
    for (const { value = new Uint8Array() } of resources) {
      const assignment = decode('ClusterLoadAssignment', value)
      const name = assignment.cluster_name ?? ''
      const listeners = this.#listeners.get(name)
      if (listeners === undefined) continue
      this.#known.set(name, assignment)
      for (const listener of listeners) listener(assignment)
    }
    this.#ask()
  }

  /** Subscribes to all names that are watched; that is also the answer to the last response. */
  #ask(): void {
    const stream = this.#stream
    if (stream === undefined || stream.destroyed) return
    const request = {
      node: this.#config.node,
      type_url: typeUrl('ClusterLoadAssignment'),
      resource_names: [...this.#listeners.keys()],
      version_info: this.#version,
      response_nonce: this.#nonce,
    }
    stream.write(framed(encode('DiscoveryRequest', request)))
  }
}

function sessionTo(server: string): ClientHttp2Session {
  const path = /^unix:(?:\/\/)?(\/.*)$/.exec(server)?.[1]
  const session =
    path === undefined
      ? connectHttp2(`http://${server}`)
      : connectHttp2('http://localhost', { createConnection: () => connectTcp(path) })
  session.unref()
  return session
}

function ignore(): void {
  // The 'close' that follows is what counts.
}
