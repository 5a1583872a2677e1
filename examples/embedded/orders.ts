// A business service that serves its own gRPC API and carries a node inside: one process, no daemon beside it.
// `node dist/examples/embedded/orders.js PORT` starts both; SIGTERM ends both, with the units.
import { fileURLToPath } from 'node:url'
import grpc from '@grpc/grpc-js'
import protoLoader from '@grpc/proto-loader'
import { createNode } from 'hsu'

const port = Number(process.argv[2] ?? 0)
const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

const node = createNode({
  config: {
    version: 1,
    node: { name: 'orders', listen: { ingress: '127.0.0.1:0' } },
    units: {
      worker: { run: [process.execPath, here('../worker/worker.js')] },
      echo: {
        kind: 'integrated',
        run: [process.execPath, here('../echo-ts/server.js'), '--port', '{port.grpc}'],
        ports: { grpc: 'auto' },
      },
    },
  },
})

const definition = protoLoader.loadSync(here('../../../examples/embedded/orders.proto'))
const server = new grpc.Server()
server.addService(definition['shop.v1.OrderService'] as grpc.ServiceDefinition, {
  getOrder(call: grpc.ServerUnaryCall<{ id: string }, object>, done: grpc.sendUnaryData<object>) {
    const units = node.units().map(({ unit, state }) => `${unit} is ${state}`)
    done(null, { id: call.request.id, note: units.join(', ') })
  },
})

await node.start()
server.bindAsync(`127.0.0.1:${port}`, grpc.ServerCredentials.createInsecure(), (error, bound) => {
  if (error !== null) throw error
  console.log(`orders listens on 127.0.0.1:${bound}, ingress on ${node.ingress}`)
})

process.once('SIGTERM', () => {
  server.tryShutdown(() => void node.stop())
})
