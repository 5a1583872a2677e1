import { once } from 'node:events'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { connect as connectTcp, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { connect as connectTls, createServer as createTlsServer } from 'node:tls'
import t from 'tap'
import { createMeshKey } from '../../src/node/mesh-key.ts'
import { parseInvite } from '../../src/node/invite/invite-code.ts'
import { joinProtocol } from '../../src/rpc/join.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { createLinkCertificate } from '../../src/rpc/link-certificate.ts'
import { meshConfig } from '../support/node-configs.ts'
import { nodeHome, type SpawnedNode } from '../support/spawned-node.ts'
import { until } from '../support/until.ts'

const ask = async (node: SpawnedNode, ...options: string[]): Promise<{ code: string; addresses: string[] }> =>
  JSON.parse((await node.hsu('mesh', 'invite', ...options, '-o', 'json')).stdout) as {
    code: string
    addresses: string[]
  }

t.test('A35: joining D needs one address and a token', { timeout: 180_000 }, async (t) => {
  const { home, node } = nodeHome(t)
  const keyFile = join(home, 'mesh.key')
  writeFileSync(keyFile, createMeshKey(), { mode: 0o600 })
  const a = node('a', { config: meshConfig('a', keyFile) })
  const d = node('d', { config: {} })
  await a.start()
  await until('it to be in its mesh', async () => (await a.hsu('mesh', 'invite')).code === 0)
  const key = readFileSync(keyFile, 'utf8').trim().split(':')[1] ?? 'none'

  await t.test('a code gets the key once, into a private file', async (t) => {
    const { code, addresses } = await ask(a)
    t.equal(addresses.length, 1)
    const { seen, address } = await listeningOn(t, addresses[0] ?? '')
    const joined = await d.hsu('mesh', 'join', code.toLowerCase(), address)
    t.equal(joined.code, 0, joined.stderr)
    const file = join(d.directory, 'mesh.key')
    t.equal(readFileSync(file, 'utf8'), readFileSync(keyFile, 'utf8'))
    t.equal(statSync(file).mode & 0o777, 0o600)
    t.match(joined.stdout, /key_file: .*mesh\.key/)
    const wire = Buffer.concat(seen)
    t.ok(wire.length > 500, 'the wire was heard')
    for (const secret of [key, Buffer.from(key, 'base64'), code, Buffer.from(parseInvite(code).secret)]) {
      t.notOk(wire.includes(secret), 'and has no secret on it')
    }
    t.match(await d.hsu('mesh', 'join', code), { code: 2, stderr: /is there already/ })
    t.match(await d.hsu('mesh', 'join', code, '--out', 'again.key'), { code: 1, stderr: /no such invitation/ })
    t.match((await a.hsu('events', '-n', '20')).stdout, /mesh\.key-given/)
  })

  await t.test('and with it the new host is in', async () => {
    d.configure(meshConfig('d', join(d.directory, 'mesh.key')))
    await d.start()
    await until('they see each other', async () => (await a.json<object>('nodes')).length === 2)
    await d.hsu('down')
  })

  await t.test('a wrong code learns nothing, and an invitation that is guessed at ends', async (t) => {
    const { code, addresses } = await ask(a, '--uses', '3')
    const address = addresses[0] ?? ''
    const { secret } = parseInvite(code)
    t.equal(await protocolAt(address, 'hsu-join-0000000000000000'), 'refused in the handshake')
    t.equal(await protocolAt(address, joinProtocol(new Uint8Array(16))), 'refused in the handshake')
    for (let count = 0; count < 5; count += 1) t.equal(await answerAt(address, joinProtocol(secret)), 0)
    t.equal(await protocolAt(address, joinProtocol(secret)), 'refused in the handshake')
    t.match(await d.hsu('mesh', 'join', code, '--out', 'b.key'), { code: 1, stderr: /no such invitation/ })
    t.match((await a.hsu('events', '-n', '20')).stdout, /mesh\.invite-ended/)
  })

  await t.test('somebody between the two, with a certificate of their own, gets nowhere', async (t) => {
    const { code, addresses } = await ask(a)
    const relay = await manInTheMiddle(t, addresses[0] ?? '', joinProtocol(parseInvite(code).secret))
    t.match(await d.hsu('mesh', 'join', code, relay, '--out', 'c.key'), { code: 1, stderr: /no such invitation/ })
  })

  await t.test('what is out of bounds or no code is said', async (t) => {
    t.match(await a.hsu('mesh', 'invite', '--ttl', '2d'), { code: 2, stderr: /1 day/ })
    t.match(await d.hsu('mesh', 'join', 'ABC', '--out', 'd.key'), { code: 2, stderr: /not the code/ })
    const { code } = await ask(a)
    t.match(await d.hsu('mesh', 'join', code, '127.0.0.1:1', '--out', 'd.key'), { code: 5, stderr: /127\.0\.0\.1:1/ })
  })

  await t.test('a stranger at the link port sees a certificate without a name, and no version', async (t) => {
    const { addresses } = await ask(a)
    const [host = '', port = ''] = (addresses[0] ?? '').split(':')
    const socket = connectTls({ host, port: Number(port), ALPNProtocols: ['h2'], rejectUnauthorized: false })
    const got: Buffer[] = []
    socket.on('data', (chunk: Buffer) => got.push(chunk))
    socket.on('error', () => undefined)
    await once(socket, 'secureConnect')
    const { subject, issuer } = socket.getPeerCertificate()
    t.match([subject, issuer], [{ CN: 'link' }, { CN: 'link' }])
    await once(socket, 'close')
    t.equal(Buffer.concat(got).length, 0)
  })
  await a.hsu('down')
})

/** What becomes of a TLS handshake that offers only this protocol. */
async function protocolAt(address: string, protocol: string): Promise<string | false | null> {
  const [host = '', port = ''] = address.split(':')
  const socket = connectTls({ host, port: Number(port), ALPNProtocols: [protocol], rejectUnauthorized: false })
  socket.on('error', () => undefined)
  const outcome = await new Promise<string | false | null>((resolve) => {
    socket.once('secureConnect', () => resolve(socket.alpnProtocol))
    socket.once('close', () => resolve('refused in the handshake'))
  })
  socket.destroy()
  return outcome
}

/** How many bytes come back after a proof that is none. */
async function answerAt(address: string, protocol: string): Promise<number> {
  const [host = '', port = ''] = address.split(':')
  const socket = connectTls({ host, port: Number(port), ALPNProtocols: [protocol], rejectUnauthorized: false })
  let count = 0
  socket.on('error', () => undefined)
  socket.on('data', (chunk: Buffer) => (count += chunk.length))
  socket.write(Buffer.alloc(32, 7))
  await new Promise((resolve) => socket.once('close', resolve))
  return count
}

/** Passes everything on to `target` and remembers it. */
async function listeningOn(t: { teardown(end: () => void): void }, target: string) {
  const [host = '', port = ''] = target.split(':')
  const seen: Buffer[] = []
  const server = createServer((guest) => {
    const inner = connectTcp(Number(port), host)
    pass(guest, inner, seen)
    pass(inner, guest, seen)
  }).listen(0, '127.0.0.1')
  t.teardown(() => void server.close())
  await once(server, 'listening')
  return { seen, address: `127.0.0.1:${(server.address() as { port: number }).port}` }
}

/** Speaks TLS with both sides and passes what is inside on. */
async function manInTheMiddle(
  t: { teardown(end: () => void): void },
  target: string,
  protocol: string,
): Promise<string> {
  const [host = '', port = ''] = target.split(':')
  const { certPem, keyPem } = await createLinkCertificate(systemClock, 'mallory')
  const server = createTlsServer({ cert: certPem, key: keyPem, ALPNProtocols: [protocol] }, (guest) => {
    const inner = connectTls({ host, port: Number(port), ALPNProtocols: [protocol], rejectUnauthorized: false })
    pass(guest, inner, [])
    pass(inner, guest, [])
  }).listen(0, '127.0.0.1')
  t.teardown(() => void server.close())
  await once(server, 'listening')
  return `127.0.0.1:${(server.address() as { port: number }).port}`
}

function pass(from: Socket, to: Socket, seen: Buffer[]): void {
  from.on('data', (chunk: Buffer) => {
    seen.push(chunk)
    to.write(chunk)
  })
  from.on('error', () => undefined)
  from.on('close', () => to.end())
}
