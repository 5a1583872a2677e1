// Calls one place by several ways in turn: see bench/direct.ts for what it is asked and answers.
import { createRequire } from 'node:module'

const require = createRequire(process.env.XDS_CLIENT_MODULES)
const grpc = require('@grpc/grpc-js')
const [rounds, single, many, ...ways] = process.argv.slice(2)
const METHOD = '/echo.v1.EchoService/Echo'
const REQUEST = Buffer.from('0a0568656c6c6f', 'hex')
const AT_ONCE = 50

if (ways.some((way) => way.includes('=hsu:'))) {
  const { registerResolver } = await import(process.env.XDS_CLIENT_RESOLVER)
  registerResolver(grpc)
}
if (ways.some((way) => way.includes('=xds:'))) require('@grpc/grpc-js-xds').register()
// Channels that look alike would share their connections.
const clients = ways.map((way, number) => {
  const [name, target] = way.split('=')
  return [name, new grpc.Client(target, grpc.credentials.createInsecure(), { 'grpc.way': number })]
})
const same = (bytes) => bytes
const call = (client) =>
  new Promise((resolve, reject) =>
    client.makeUnaryRequest(METHOD, same, same, REQUEST, { deadline: Date.now() + 20_000 }, (error) =>
      error ? reject(error) : resolve(),
    ),
  )

for (let round = 0; round <= Number(rounds); round += 1) {
  // The order changes, so that what the machine does does not fall on one of them alone.
  for (let turn = 0; turn < clients.length; turn += 1) {
    const [name, client] = clients[(round + turn) % clients.length]
    const took = []
    for (let calls = 0; calls < Number(single); calls += 1) {
      const began = performance.now()
      await call(client)
      took.push(performance.now() - began)
    }
    const before = process.cpuUsage()
    let left = Number(many)
    const caller = async () => {
      while (left > 0) {
        left -= 1
        await call(client)
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, caller))
    const { user, system } = process.cpuUsage(before)
    const p50 = took.sort((one, other) => one - other)[took.length >> 1]
    console.log(JSON.stringify({ round, name, p50Us: p50 * 1_000, cpuUs: (user + system) / Number(many) }))
  }
}
process.exit(0)
