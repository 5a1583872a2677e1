// A plain grpc-js client of the echo services; it knows one address: the ingress of a node on this host.
import { fileURLToPath } from 'node:url'
import grpc from '@grpc/grpc-js'
import protoLoader from '@grpc/proto-loader'

const protoFile = (name: string): string => fileURLToPath(new URL(`../../../proto/${name}`, import.meta.url))
const ECHO = protoLoader.loadSync(protoFile('echo/v1/echo.proto'), { defaults: true })['echo.v1.EchoService']
const UPSTREAM = protoLoader.loadSync(protoFile('compat/echo.proto'), { defaults: true })['proto.EchoService']
const CALL_TIMEOUT_MS = 2_000

export interface EchoAnswer {
  readonly message: string
  readonly instance: string
  readonly node: string
}

type Headers = Readonly<Record<string, string>>
type Method = grpc.MethodDefinition<object, object>

export class EchoClient {
  readonly #client: grpc.Client

  constructor(port: number) {
    this.#client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure())
  }

  echo(message: string, headers: Headers): Promise<EchoAnswer> {
    return this.#unary(ECHO, 'Echo', { message }, headers) as Promise<EchoAnswer>
  }

  /** Echo of a unit written for the upstream HSU. */
  async upstreamEcho(message: string): Promise<string> {
    return ((await this.#unary(UPSTREAM, 'Echo', { message }, {})) as { message: string }).message
  }

  /** Makes one call of each streaming kind. @throws Error when an answer is not what it must be */
  async expectStreams(headers: Headers): Promise<void> {
    const repeat = methodOf(ECHO, 'Repeat')
    const answers = this.#client.makeServerStreamRequest(
      repeat.path,
      repeat.requestSerialize,
      repeat.responseDeserialize,
      { message: 'hi', count: 3 },
      metadata(headers),
      deadline(),
    )
    expect('Repeat', await messagesOf(answers), ['hi', 'hi', 'hi'])

    const join = methodOf(ECHO, 'Join')
    const joined = await new Promise<object | undefined>((resolve, reject) => {
      const { path, requestSerialize, responseDeserialize } = join
      const done = (error: grpc.ServiceError | null, value?: object): void =>
        error === null ? resolve(value) : reject(error)
      const call = this.#client.makeClientStreamRequest(
        path,
        requestSerialize,
        responseDeserialize,
        metadata(headers),
        deadline(),
        done,
      )
      for (const message of ['one', 'two']) call.write({ message })
      call.end()
    })
    expect('Join', [(joined as { message: string }).message], ['one two'])

    const chat = methodOf(ECHO, 'Chat')
    const call = this.#client.makeBidiStreamRequest(
      chat.path,
      chat.requestSerialize,
      chat.responseDeserialize,
      metadata(headers),
      deadline(),
    )
    for (const message of ['ping', 'pong']) call.write({ message })
    call.end()
    expect('Chat', await messagesOf(call), ['ping', 'pong'])
  }

  close(): void {
    this.#client.close()
  }

  #unary(service: unknown, name: string, request: object, headers: Headers): Promise<object> {
    const { path, requestSerialize, responseDeserialize } = methodOf(service, name)
    return new Promise((resolve, reject) => {
      const done = (error: grpc.ServiceError | null, value?: object): void =>
        error === null && value !== undefined ? resolve(value) : reject(error ?? new Error('no answer'))
      this.#client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        metadata(headers),
        deadline(),
        done,
      )
    })
  }
}

function methodOf(service: unknown, name: string): Method {
  return (service as Record<string, Method>)[name] as Method
}

function metadata(headers: Headers): grpc.Metadata {
  const metadata = new grpc.Metadata()
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value)
  return metadata
}

function deadline(): grpc.CallOptions {
  return { deadline: Date.now() + CALL_TIMEOUT_MS }
}

async function messagesOf(answers: AsyncIterable<unknown>): Promise<string[]> {
  const messages: string[] = []
  for await (const { message } of answers as AsyncIterable<{ message: string }>) messages.push(message)
  return messages
}

function expect(what: string, got: readonly string[], wanted: readonly string[]): void {
  if (got.join() !== wanted.join()) throw new Error(`${what} answered [${got.join(', ')}], not [${wanted.join(', ')}]`)
}
