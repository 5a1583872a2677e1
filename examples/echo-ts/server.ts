// An integrated unit in TypeScript: plain grpc-js, nothing of HSU inside. It takes `--port N`, serves all four kinds
// of call, tells its health and its services, and finishes the calls in flight when it is asked to stop.
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import grpc from '@grpc/grpc-js'
import protoLoader from '@grpc/proto-loader'
import type { ReflectionService as Reflection } from '@grpc/reflection'
import type { HealthImplementation as Health } from 'grpc-health-check'

const require = createRequire(import.meta.url)
const { ReflectionService } = require('@grpc/reflection') as { ReflectionService: typeof Reflection }
const { HealthImplementation } = require('grpc-health-check') as { HealthImplementation: typeof Health }

interface Message {
  readonly message: string
}
interface Repetition extends Message {
  readonly count: number
}

const SERVICE = 'echo.v1.EchoService'
const PROTO = fileURLToPath(new URL('../../../proto/echo/v1/echo.proto', import.meta.url))

const { values } = parseArgs({ options: { port: { type: 'string' } } })
if (values.port === undefined) {
  console.error('usage: server --port N')
  process.exit(2)
}

const definition = protoLoader.loadSync(PROTO, { defaults: true })
const instance = process.env['HSU_INSTANCE'] ?? 'echo'
const node = process.env['HSU_NODE'] ?? ''

const server = new grpc.Server()
server.addService(definition[SERVICE] as grpc.ServiceDefinition, {
  echo(call: grpc.ServerUnaryCall<Message, object>, done: grpc.sendUnaryData<object>) {
    done(null, { message: call.request.message, instance, node })
  },
  async repeat(call: grpc.ServerWritableStream<Repetition, object>) {
    // A full buffer means that the caller reads slower than we write; its going away ends the wait too.
    let resume: (value?: unknown) => void = () => undefined
    call.on('drain', () => resume()).on('cancelled', () => resume())
    for (let number = 1; number <= call.request.count && !call.cancelled; number += 1) {
      if (!call.write({ message: call.request.message, number })) await new Promise((drained) => (resume = drained))
    }
    call.end()
  },
  join(call: grpc.ServerReadableStream<Message, object>, done: grpc.sendUnaryData<object>) {
    const words: string[] = []
    call.on('data', ({ message }: Message) => words.push(message))
    call.on('end', () => done(null, { message: words.join(' ') }))
  },
  chat(call: grpc.ServerDuplexStream<Message, Message>) {
    call.on('data', ({ message }: Message) => call.write({ message }))
    call.on('end', () => call.end())
  },
})
const health = new HealthImplementation({ '': 'SERVING', [SERVICE]: 'SERVING' })
health.addToServer(server)
new ReflectionService(definition, { services: [SERVICE] }).addToServer(server)

const address = `127.0.0.1:${values.port}`
server.bindAsync(address, grpc.ServerCredentials.createInsecure(), (error) => {
  if (error !== null) {
    console.error(`cannot listen on ${address}: ${error.message}`)
    process.exit(1)
  }
  console.log(`echo listens on ${address}`)
})

process.once('SIGTERM', () => {
  health.setStatus('', 'NOT_SERVING')
  server.tryShutdown(() => process.exit(0))
})
