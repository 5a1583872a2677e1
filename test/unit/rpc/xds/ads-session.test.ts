import fc from 'fast-check'
import t from 'tap'
import { DEFAULT_ROUTE } from '../../../../src/rpc/default-route.ts'
import { AdsSession, TooMuchError } from '../../../../src/rpc/xds/ads-session.ts'
import { Catalog } from '../../../../src/rpc/xds/catalog.ts'
import { type Message, type MessageName, typeUrl } from '../../../../src/rpc/xds/fields.ts'
import { echoAt, literalWorld, SERVICE } from '../../../support/literal-world.ts'
import { linesOf, resourcesOf } from '../../../support/xds-view.ts'

type Response = Message<'DiscoveryResponse'>

const NODE = { id: 'client', user_agent_name: 'gRPC Go', user_agent_version: '1.75.0' }

/** A session with a client that answers when the test says so. */
function sessionRig() {
  const world = literalWorld(echoAt('127.0.0.1:1001'))
  const catalog = new Catalog({
    endpoints: world,
    nodeId: 'self',
    routeOf: () => ({ ...DEFAULT_ROUTE, policy: 'round-robin' }),
    isDraining: () => false,
    viewpoint: () => ({ node: 'here', zone: '', ingress: '127.0.0.1:9470' }),
  })
  const sent: Response[] = []
  const refused: string[] = []
  const client = { reads: true, held: false }
  const session = new AdsSession(
    {
      catalog,
      send: (response) => sent.push(response),
      mayPush: () => client.reads,
      mayAnswer: () => !client.held,
      onRefused: (kind, from, why) => refused.push(`${kind} ${from}: ${why}`),
    },
    'run',
  )
  const ask = (name: MessageName, names: string[], more: Message<'DiscoveryRequest'> = {}): Response[] => {
    sent.length = 0
    session.receive({ node: NODE, type_url: typeUrl(name), resource_names: names, ...more })
    return [...sent]
  }
  const change = (...entries: (typeof world)['entries']): Response[] => {
    sent.length = 0
    world.entries = entries
    catalog.refresh()
    session.sync()
    return [...sent]
  }
  return { session, ask, change, refused, client, sent }
}

t.test('what is subscribed to is sent once, and again when it changes', async (t) => {
  const { ask, change } = sessionRig()
  const [first] = ask('ClusterLoadAssignment', [SERVICE])
  t.same(linesOf(resourcesOf('ClusterLoadAssignment', first)[0] ?? {}).length, 2)
  t.match(first?.version_info, /^run\.\d+$/)
  const ack = { version_info: first?.version_info, response_nonce: first?.nonce }
  t.same(ask('ClusterLoadAssignment', [SERVICE], ack), [], 'an answer is not answered')
  t.same(change(echoAt('127.0.0.1:1001')), [], 'nothing has changed')
  const [second, ...more] = change(echoAt('127.0.0.1:1001'), echoAt('127.0.0.1:1002', { instance: 'echo-1-b' }))
  t.same(more, [])
  t.equal(linesOf(resourcesOf('ClusterLoadAssignment', second)[0] ?? {}).length, 3)
  t.not(second?.nonce, first?.nonce)
})

t.test('names that nobody knows are answered at once, in all four kinds', async (t) => {
  const { ask } = sessionRig()
  for (const kind of ['Listener', 'RouteConfiguration', 'Cluster', 'ClusterLoadAssignment'] as const) {
    const [response] = ask(kind, ['no.such.Service'])
    t.equal(response?.resources?.length, 1, kind)
  }
})

t.test('listeners and clusters are listed in whole, routes and endpoints as far as they are new', async (t) => {
  const { ask } = sessionRig()
  for (const [kind, expected] of [
    ['Listener', 2],
    ['Cluster', 2],
    ['RouteConfiguration', 1],
    ['ClusterLoadAssignment', 1],
  ] as const) {
    const [first] = ask(kind, ['a'])
    const [second] = ask(kind, ['a', 'b'], { response_nonce: first?.nonce })
    t.equal(second?.resources?.length, expected, kind)
  }
})

t.test('a request about an earlier response is passed over', async (t) => {
  const { ask, change, session } = sessionRig()
  const [first] = ask('ClusterLoadAssignment', [SERVICE])
  change(echoAt('127.0.0.1:1002'))
  t.same(ask('ClusterLoadAssignment', [SERVICE, 'more'], { response_nonce: first?.nonce }), [])
  t.equal(session.isSettled(), false, 'the later one is not answered yet')
})

t.test('what a client refuses is told of and not sent again until it changes', async (t) => {
  const { ask, change, refused, session } = sessionRig()
  const [first] = ask('ClusterLoadAssignment', [SERVICE])
  const refusal = { response_nonce: first?.nonce, error_detail: { code: 3, message: 'bad address' } }
  t.same(ask('ClusterLoadAssignment', [SERVICE], refusal), [])
  t.same(refused, ['endpoints client gRPC Go 1.75.0: bad address'])
  session.sync()
  t.equal(change(echoAt('127.0.0.1:1003')).length, 1)
})

t.test('a client that does not read gets the latest state, not all states', async (t) => {
  const { ask, change, client, session, sent } = sessionRig()
  ask('ClusterLoadAssignment', [SERVICE])
  client.reads = false
  for (let port = 2_000; port < 2_010; port += 1) t.same(change(echoAt(`127.0.0.1:${port}`)), [])
  client.reads = true
  session.sync()
  t.equal(sent.length, 1)
  t.match(linesOf(resourcesOf('ClusterLoadAssignment', sent[0])[0] ?? {})[0], '127.0.0.1:2009')
})

t.test('nothing is said while the world is not known, and all of it then', async (t) => {
  const { ask, client, session, sent } = sessionRig()
  client.held = true
  for (const kind of ['Listener', 'ClusterLoadAssignment'] as const) t.same(ask(kind, [SERVICE]), [])
  session.sync()
  t.same(sent, [])
  client.held = false
  session.sync()
  t.equal(sent.length, 2)
})

t.test('a client has settled when it has answered all that was sent of endpoints', async (t) => {
  const { ask, change, session } = sessionRig()
  t.equal(session.isSettled(), true)
  const [first] = ask('ClusterLoadAssignment', [SERVICE])
  t.equal(session.uses(new Set([SERVICE])), true)
  t.equal(session.uses(new Set(['another'])), false)
  t.equal(session.isSettled(), false)
  ask('ClusterLoadAssignment', [SERVICE], { response_nonce: first?.nonce })
  t.equal(session.isSettled(), true)
  const [second] = change(echoAt('127.0.0.1:1002'))
  t.equal(session.isSettled(), false)
  ask('ClusterLoadAssignment', [SERVICE], { response_nonce: second?.nonce })
  t.equal(session.isSettled(), true)
})

t.test('more names than any client needs end the stream', async (t) => {
  const { ask } = sessionRig()
  const names = Array.from({ length: 2_001 }, (_, index) => `s${index}`)
  t.throws(() => ask('Listener', names), TooMuchError)
  t.throws(() => ask('Listener', ['x'.repeat(513)]), TooMuchError)
})

t.test('whatever a client says, what it holds in the end is the world', async () => {
  const step = fc.oneof(
    fc.record({ does: fc.constant('subscribe' as const), names: fc.subarray(['a', 'b', SERVICE]) }),
    fc.record({ does: fc.constant('answer' as const), well: fc.boolean() }),
    fc.record({ does: fc.constant('change' as const), port: fc.integer({ min: 1, max: 9 }) }),
    fc.record({ does: fc.constant('read' as const), reads: fc.boolean() }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const rig = sessionRig()
      let names: string[] = []
      let nonce: string | undefined
      const held = new Map<string, string>()
      const take = (responses: readonly Response[]): void => {
        for (const response of responses) {
          nonce = response.nonce
          for (const one of resourcesOf('ClusterLoadAssignment', response))
            held.set(one.cluster_name ?? '', linesOf(one).join())
        }
      }
      let port = 1001
      for (const each of steps) {
        if (each.does === 'subscribe') {
          names = each.names
          for (const name of held.keys()) if (!names.includes(name)) held.delete(name)
          take(rig.ask('ClusterLoadAssignment', names, { response_nonce: nonce }))
        } else if (each.does === 'answer') {
          const error_detail = each.well ? undefined : { code: 3, message: 'no' }
          take(rig.ask('ClusterLoadAssignment', names, { response_nonce: nonce, error_detail }))
        } else if (each.does === 'change') {
          port = each.port
          take(rig.change(echoAt(`127.0.0.1:${port}`)))
        } else rig.client.reads = each.reads
      }
      rig.client.reads = true
      rig.sent.length = 0
      rig.session.sync()
      take(rig.sent)
      for (const name of names) {
        const expected = name === SERVICE ? `127.0.0.1:${port} ` : '127.0.0.1:9470 '
        if (!(held.get(name) ?? '').includes(expected)) return false
      }
      return true
    }),
    { numRuns: 300 },
  )
})
