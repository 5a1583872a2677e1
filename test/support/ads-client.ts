import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect as connectHttp2,
  type IncomingHttpHeaders,
} from 'node:http2'
import { connect as connectTcp } from 'node:net'
import { decode, encode, type Message, type MessageName, typeUrl } from '../../src/rpc/xds/fields.ts'
import { framed, messageReader } from '../../src/rpc/xds/framing.ts'
import type { Rig } from './call-rig.ts'
import { linesOf, resourcesOf } from './xds-view.ts'

const ADS = '/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources'
const LRS = '/envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats'

/** A bare client of the control plane that accepts whatever it is told. */
export class AdsClient {
  readonly responses: Message<'DiscoveryResponse'>[] = []
  readonly #session: ClientHttp2Session
  readonly #stream: ClientHttp2Stream
  readonly #names = new Map<string, readonly string[]>()
  #trailers: IncomingHttpHeaders | undefined
  /** With `false`, what comes is read and not answered. */
  answers = true

  /** `server`: `host:port` or `unix:/path`. */
  constructor(t: Rig, server: string) {
    this.#session = sessionTo(server)
    t.teardown(() => this.#session.destroy())
    this.#stream = open(this.#session, ADS)
    const read = messageReader((bytes) => this.#take(decode('DiscoveryResponse', bytes)))
    this.#stream.on('data', read)
    this.#stream.on('trailers', (trailers: IncomingHttpHeaders) => (this.#trailers = trailers))
    this.#stream.on('response', (head: IncomingHttpHeaders) => {
      if (head['grpc-status'] !== undefined) this.#trailers = head
    })
  }

  /** `grpc-status` and `grpc-message`, once the stream has ended. */
  get end(): string | undefined {
    const { 'grpc-status': status, 'grpc-message': message = '' } = this.#trailers ?? {}
    return status === undefined ? undefined : `${String(status)} ${decodeURIComponent(String(message))}`.trim()
  }

  subscribe(name: MessageName, ...names: string[]): void {
    this.#names.set(typeUrl(name), names)
    this.#send({ type_url: typeUrl(name), resource_names: names })
  }

  /** Bytes that are no message. */
  babble(): void {
    this.#stream.write(framed(Buffer.from('ffffffff', 'hex')))
  }

  /** Where calls to a name go by what was heard last: the lines of `linesOf`. */
  endpointsOf(name: string): string[] {
    const all = this.responses
      .filter(({ type_url }) => type_url === typeUrl('ClusterLoadAssignment'))
      .flatMap((response) => resourcesOf('ClusterLoadAssignment', response))
    return linesOf(all.findLast(({ cluster_name }) => cluster_name === name) ?? {})
  }

  /** A second stream on the same connection, which reports load; gives what the server asked for. */
  report(stats: Message<'ClusterStats'>[]): { readonly asked: Message<'LoadStatsResponse'>[]; end(): void } {
    const stream = open(this.#session, LRS)
    const asked: Message<'LoadStatsResponse'>[] = []
    stream.on(
      'data',
      messageReader((bytes) => asked.push(decode('LoadStatsResponse', bytes))),
    )
    stream.write(framed(encode('LoadStatsRequest', { node: { id: 'test' }, cluster_stats: stats })))
    return { asked, end: () => stream.close() }
  }

  #take(response: Message<'DiscoveryResponse'>): void {
    this.responses.push(response)
    const { type_url = '', version_info, nonce } = response
    if (!this.answers) return
    this.#send({ type_url, version_info, response_nonce: nonce, resource_names: this.#names.get(type_url) ?? [] })
  }

  #send(request: Message<'DiscoveryRequest'>): void {
    const node = { id: 'test', user_agent_name: 'test' }
    this.#stream.write(framed(encode('DiscoveryRequest', { node, ...request })))
  }
}

function sessionTo(server: string): ClientHttp2Session {
  const session = server.startsWith('unix:')
    ? connectHttp2('http://localhost', { createConnection: () => connectTcp(server.slice('unix:'.length)) })
    : connectHttp2(`http://${server}`)
  session.on('error', () => undefined)
  return session
}

function open(session: ClientHttp2Session, path: string): ClientHttp2Stream {
  const stream = session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
  })
  stream.on('error', () => undefined)
  return stream
}
