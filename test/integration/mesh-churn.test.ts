import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { setImmediate as turn, setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { createIdentity } from '../../src/mesh/identity.ts'
import { startLiveMesh } from '../support/live-mesh.ts'
import { registration } from '../support/sim-mesh.ts'
import { until } from '../support/until.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** `HSU_CHURN=500` is the whole of it: half a minute on a quiet machine. */
const TIMES = Number(process.env['HSU_CHURN'] ?? 200)
const PEERS = 10
/** What is loaded and made at first use is no leak. */
const WARM_UP = 100

/**
 * By how much one connect and disconnect may make the heap grow, in bytes. Some 6,000 were seen in 500 rounds and 10,000 in 200: code
 * that is compiled anew, better each time. A connection that is kept is 48,000.
 */
const MOST_LEFT_EACH = 25_000

/** How long handles are looked at: a dial of a peer that is gone comes and goes. */
const LOOKS = 20

/** Handles and timers of this process, by kind: the fewest of a moment. */
async function fewest(): Promise<Record<string, number>> {
  const looks: Record<string, number>[] = []
  for (let look = 0; look < LOOKS; look += 1) {
    await pause(50)
    const counts: Record<string, number> = {}
    for (const kind of process.getActiveResourcesInfo()) counts[kind] = (counts[kind] ?? 0) + 1
    looks.push(counts)
  }
  const kinds = new Set(looks.flatMap((look) => Object.keys(look)))
  const least = [...kinds].map((kind) => [kind, Math.min(...looks.map((look) => look[kind] ?? 0))] as const)
  return Object.fromEntries(least.filter(([, count]) => count > 0))
}

async function heapBytes(): Promise<number> {
  for (let round = 0; round < 5; round += 1) {
    await turn()
    collect()
  }
  return process.memoryUsage().heapUsed
}

t.test(`${TIMES} connects and disconnects of peers leave nothing behind`, { timeout: 300_000 }, async (t) => {
  const warnings: string[] = []
  process.on('warning', ({ message }) => warnings.push(message))
  const alone = await fewest()
  const hub = await startLiveMesh('hub', createIdentity(), new Map(), [])
  hub.mesh.publish([registration('unit-of-hub')])
  const port = hub.transport.addresses()[0]?.split('/')[4] ?? ''
  const peers = Array.from({ length: PEERS }, (_, index) => ({
    name: `p${index}`,
    identity: createIdentity(),
    disk: new Map<string, Uint8Array>(),
  }))

  /** A node starts, is seen with what it registers, and is gone: politely, or as if it was killed. */
  async function comeAndGo(peer: (typeof peers)[number], politely: boolean): Promise<void> {
    const { nodeId } = peer.identity
    const { mesh } = await startLiveMesh(peer.name, peer.identity, peer.disk, [`127.0.0.1:${port}`])
    mesh.publish([registration(`unit-of-${peer.name}`)])
    await until('the peer to be seen', () => hub.mesh.registrations().get(nodeId)?.length === 1)
    await until('the hub to be seen', () => mesh.registrations().get(hub.mesh.nodeId)?.length === 1)
    await (politely ? mesh.stop() : mesh.suspend())
    await until('the peer to be gone', () => !hub.transport.connected().includes(nodeId))
  }

  async function churn(times: number): Promise<void> {
    let done = 0
    const each = peers.map(async (peer) => {
      while (done < times) await comeAndGo(peer, (done += 1) % 2 === 0)
    })
    await Promise.all(each)
    await until('all to be gone', () =>
      hub.mesh.members().every(({ self, status }) => self || !/alive|suspect/.test(status)),
    )
  }

  await churn(WARM_UP)
  const before = { handles: await fewest(), heap: await heapBytes() }
  await churn(TIMES - WARM_UP)
  const after = { handles: await fewest(), heap: await heapBytes() }
  t.comment(`handles ${JSON.stringify(after.handles)}, heap ${before.heap / 1e6} to ${after.heap / 1e6} MB`)
  for (const [kind, count] of Object.entries(after.handles))
    t.ok(count <= (before.handles[kind] ?? 0), `${kind}: ${before.handles[kind] ?? 0} before, ${count} after`)
  const each = (after.heap - before.heap) / (TIMES - WARM_UP)
  t.ok(each <= MOST_LEFT_EACH, `${Math.round(each)} bytes of heap each`)
  t.same(hub.transport.connected(), [])
  t.equal(hub.mesh.registrations().size, 1, 'only its own')
  t.equal(hub.mesh.members().length, 1 + PEERS, 'those who left are remembered')
  await hub.mesh.stop()
  t.same(await fewest(), alone, 'nothing is left of the hub either')
  t.same(warnings, [])
})
