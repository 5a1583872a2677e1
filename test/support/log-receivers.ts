import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer as createHttpServer, type IncomingHttpHeaders } from 'node:http'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import type { Test } from 'tap'

/** A syslog server over TCP or a unix socket that takes messages by their length, RFC 6587. */
export class SyslogServer {
  readonly messages: string[] = []
  /** Connections there have been. */
  connections = 0
  readonly #open = new Set<Socket>()
  readonly #server: Server
  readonly #reads: boolean

  /** `reads: false` = accepts connections and never reads from them. */
  constructor(t: Test, { reads = true } = {}) {
    this.#reads = reads
    this.#server = createServer({ pauseOnConnect: !reads }, (socket) => this.#take(socket))
    t.teardown(() => this.stop())
  }

  /** Port or path to listen at; 0 = a free port, which is returned. */
  async listen(place: number | string = 0): Promise<number> {
    this.#server.listen(typeof place === 'string' ? { path: place } : { port: place, host: '127.0.0.1' })
    await once(this.#server, 'listening')
    return typeof place === 'string' ? 0 : (this.#server.address() as AddressInfo).port
  }

  /** What the lines said, without their headers. */
  get texts(): string[] {
    return this.messages.map((message) => message.slice(message.indexOf('] ') + 2))
  }

  async stop(): Promise<void> {
    for (const socket of this.#open) socket.destroy()
    if (!this.#server.listening) return
    this.#server.close()
    await once(this.#server, 'close')
  }

  #take(socket: Socket): void {
    this.connections += 1
    this.#open.add(socket)
    socket.on('error', () => undefined)
    if (!this.#reads) return
    let rest = Buffer.alloc(0)
    socket.on('data', (part) => {
      rest = Buffer.concat([rest, part])
      for (let space = rest.indexOf(' '); space > 0; space = rest.indexOf(' ')) {
        const end = space + 1 + Number(rest.toString('latin1', 0, space))
        if (rest.length < end) return
        this.messages.push(rest.toString('utf8', space + 1, end))
        rest = rest.subarray(end)
      }
    })
  }
}

/** A syslog server over UDP. */
export async function udpServer(t: Test, port = 0): Promise<{ port: number; messages: string[] }> {
  const socket: UdpSocket = createSocket('udp4')
  const messages: string[] = []
  socket.on('message', (message) => messages.push(message.toString()))
  socket.bind(port, '127.0.0.1')
  await once(socket, 'listening')
  t.teardown(() => socket.close())
  return { port: socket.address().port, messages }
}

/** What a collector is sent: `POST /v1/logs` as JSON. */
export interface OtlpRequest {
  readonly url: string
  readonly headers: IncomingHttpHeaders
  readonly body: {
    readonly resourceLogs: readonly {
      readonly resource: { readonly attributes: readonly object[] }
      readonly scopeLogs: readonly {
        readonly logRecords: readonly { readonly body: { readonly stringValue: string } }[]
      }[]
    }[]
  }
}

/** An OTLP/HTTP collector that answers `answers` in turn, and 200 when there is none. Keeps what it answered 200. */
export async function collector(
  t: Test,
  answers: { status: number; body?: string; headers?: Record<string, string> }[] = [],
): Promise<{ url: string; requests: OtlpRequest[]; taken: () => string[] }> {
  const requests: OtlpRequest[] = []
  const kept: OtlpRequest[] = []
  const server = createHttpServer((request, response) => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => {
      const body = JSON.parse(Buffer.concat(parts).toString()) as OtlpRequest['body']
      const seen = { url: request.url ?? '', headers: request.headers, body }
      const { status, body: text = '{}', headers = {} } = answers.shift() ?? { status: 200 }
      requests.push(seen)
      if (status === 200) kept.push(seen)
      response.writeHead(status, headers).end(text)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  const records = (): string[] =>
    kept.flatMap(({ body }) =>
      body.resourceLogs.flatMap(({ scopeLogs }) =>
        scopeLogs.flatMap(({ logRecords }) => logRecords.map((each) => each.body.stringValue)),
      ),
    )
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests, taken: records }
}
