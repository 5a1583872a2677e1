import { randomBytes } from 'node:crypto'
import { connect } from 'node:net'
import { preSharedKey } from '@libp2p/pnet'
import { multiaddr } from '@multiformats/multiaddr'
import t, { type Test } from 'tap'
import { silentLog } from '../../src/base/log.ts'
import { systemRandom } from '../../src/base/system-random.ts'
import { createIdentity } from '../../src/mesh/identity.ts'
import { type FailedHandshake, HandshakeWatch } from '../../src/mesh/libp2p/handshake.ts'
import { type Host, privateKeyFrom, startHost } from '../../src/mesh/libp2p/host.ts'
import { isMarkedWith, markedNonce } from '../../src/mesh/libp2p/marked-nonce.ts'
import { NONCE_BYTES, pskFile } from '../../src/mesh/libp2p/pnet-box.ts'
import { ringProtector } from '../../src/mesh/libp2p/ring-protector.ts'
import { until } from '../support/until.ts'

const [OLD, NEW, OTHER] = [randomBytes(32), randomBytes(32), randomBytes(32)] as const

interface End {
  readonly host: Host
  /** The keys it has now. */
  keys: readonly Uint8Array[]
  readonly failed: FailedHandshake[]
}

/** A libp2p node on loopback with these keys, newest first. */
async function end(t: Test, keys: readonly Uint8Array[], plain = false): Promise<End> {
  const made: { keys: readonly Uint8Array[]; failed: FailedHandshake[] } = { keys, failed: [] }
  const privateKey = await privateKeyFrom(createIdentity().privateKey)
  const protector = plain
    ? preSharedKey({ psk: pskFile(keys[0] ?? new Uint8Array()) })
    : await ringProtector(() => made.keys, systemRandom)
  const watch = new HandshakeWatch((failed) => made.failed.push(failed))
  const host = await startHost(silentLog, { protector, privateKey, listen: { host: '127.0.0.1', port: 0 } }, {}, watch)
  t.teardown(() => host.stop())
  return Object.assign(made, { host })
}

const portOf = ({ host }: End): number => Number(host.services.inside.listening()[0]?.toString().split('/')[4])

/** Whether `from` gets a connection to `to` at the first try. It is closed when both have it: before, `to` would take it for one that failed. */
async function reaches(from: End, to: End): Promise<boolean> {
  const idsAtTo = (): readonly string[] => to.host.getConnections(from.host.peerId).map(({ id }) => id)
  const before = new Set(idsAtTo())
  const address = multiaddr(`/ip4/127.0.0.1/tcp/${portOf(to)}/p2p/${to.host.peerId.toString()}`)
  try {
    const connection = await from.host.dial(address, { force: true })
    await until('both to have it', () => idsAtTo().some((id) => !before.has(id)))
    await connection.close()
    return true
  } catch {
    return false
  }
}

t.test('a nonce is marked for those who have the key, and a nonce of chance is not', async (t) => {
  const nonce = markedNonce([NEW, OLD])
  t.equal(nonce.length, NONCE_BYTES)
  t.ok(isMarkedWith(OLD, nonce))
  t.ok(isMarkedWith(NEW, nonce))
  t.notOk(isMarkedWith(OTHER, nonce))
  t.notOk(isMarkedWith(NEW, markedNonce([OLD])))
  t.notOk(isMarkedWith(OLD, randomBytes(NONCE_BYTES)))
  t.notSame(markedNonce([NEW, OLD]), nonce)
})

t.test('with one key each, ours and the plain private network handshake understand each other', async (t) => {
  const [ours, plain] = [await end(t, [OLD]), await end(t, [OLD], true)]
  t.ok(await reaches(ours, plain))
  t.ok(await reaches(plain, ours))
  t.same([ours.failed, plain.failed], [[], []])
})

t.test('while a key is replaced, whoever shares a key connects at the first try, whoever dials', async (t) => {
  const [both, onlyOld, onlyNew] = [await end(t, [NEW, OLD]), await end(t, [OLD]), await end(t, [NEW])]
  for (const other of [onlyOld, onlyNew, await end(t, [NEW, OLD]), await end(t, [OTHER, NEW])]) {
    t.ok(await reaches(both, other))
    t.ok(await reaches(other, both))
  }
  t.notOk(await reaches(onlyOld, onlyNew))
  t.notOk(await reaches(onlyNew, onlyOld))
  t.same(both.failed, [])
})

t.test('a node of an earlier version is reached with either key, if not at the first try', async (t) => {
  const both = await end(t, [NEW, OLD])
  for (const plain of [await end(t, [OLD], true), await end(t, [NEW], true)]) {
    t.ok(await reaches(plain, both), 'it is heard at once')
    let tries = 1
    while (tries < 50 && !(await reaches(both, plain))) tries += 1
    t.ok(tries < 50, 'and reached')
  }
})

t.test('once the old key is given up it opens nothing any more', async (t) => {
  const [one, late] = [await end(t, [NEW, OLD]), await end(t, [OLD])]
  t.ok(await reaches(late, one))
  one.keys = [NEW]
  t.notOk(await reaches(late, one))
  t.notOk(await reaches(one, late))
  late.keys = [NEW]
  t.ok(await reaches(late, one))
})

t.test('a stranger gets 24 bytes of chance and the end of the connection, whatever it sends', async (t) => {
  const one = await end(t, [NEW, OLD])
  const seen = new Set<string>()
  // The last is what a member sends, recorded on another connection and played again.
  const nonces = [randomBytes(NONCE_BYTES), Buffer.from(markedNonce([OTHER])), Buffer.from(markedNonce([NEW]))]
  for (const nonce of nonces) {
    const got = await answerTo(t, portOf(one), Buffer.concat([nonce, randomBytes(200)]))
    t.equal(got.length, NONCE_BYTES)
    seen.add(got.toString('hex'))
  }
  t.equal(seen.size, nonces.length, 'another each time')
  t.equal(one.failed.length, nonces.length)
  t.ok(one.failed.every(({ local }) => local))
})

/** All that comes back from a port after `bytes` were sent to it, until it closes. */
async function answerTo(t: Test, port: number, bytes: Uint8Array): Promise<Buffer> {
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  const chunks: Buffer[] = []
  socket.on('error', () => undefined)
  socket.on('data', (chunk) => chunks.push(chunk))
  const closed = new Promise((resolve) => socket.on('close', resolve))
  socket.write(bytes)
  await closed
  return Buffer.concat(chunks)
}
