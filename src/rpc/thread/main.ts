// The thread that calls go through: an ingress and a link server on an event loop of their own, fed with what the node knows.
import { parentPort } from 'node:worker_threads'
import type { Log, LogLevel } from '../../base/log.ts'
import { systemClock } from '../../base/system-clock.ts'
import { systemRandom } from '../../base/system-random.ts'
import { systemTurn } from '../../base/system-turn.ts'
import type { Guests } from '../call-listener.ts'
import { createIngress, type Ingress } from '../ingress.ts'
import { serveGuest } from '../join.ts'
import { changingCertificate } from '../link-certificate.ts'
import { createLinkServer, type LinkServer } from '../link-server.ts'
import type { Endpoint } from '../endpoint-source.ts'
import { RelayLoop } from '../relay/loop.ts'
import { createCallLimits } from '../router/call-limits.ts'
import { CallMetrics, type CallRow } from '../router/call-metrics.ts'
import { CallTap } from '../router/call-watch.ts'
import type { FaultRow } from '../router/fault-counts.ts'
import type { Wake } from '../router/waking.ts'
import { CountedCalls } from './counted.ts'
import type {
  DoorName,
  DoorSetup,
  DoorState,
  NodeNews,
  NodeQuestion,
  OpenInvite,
  ThreadNews,
  ThreadQuestion,
} from './protocol.ts'
import { type Port, Talk } from './talk.ts'
import { WorldCopy } from './world.ts'

/** Counts are told this long after the first of them has changed. */
const REPORT_MS = 50

/** Guests that are served at once; more are sent away. */
const MAX_GUESTS = 8

if (parentPort !== null) serve(parentPort)

function serve(port: Port): void {
  const world = new WorldCopy()
  const loop = new RelayLoop({ clock: systemClock })
  const metrics = new CallMetrics()
  const doors = new Map<DoorName, Ingress | LinkServer>()
  let invites: readonly OpenInvite[] = []
  let shown: ReturnType<typeof changingCertificate> | undefined
  let guestsPresent = 0

  const talk: Talk = new Talk(port, {
    onAsk: (what, signal) => answer(what as ThreadQuestion, signal),
    onTell: (what) => hear(what as ThreadNews),
  })
  const tell = (news: NodeNews): void => talk.tell(news)
  const wake: Wake = async (sleeper, signal) =>
    (await talk.ask({ want: 'wake', sleeper } satisfies NodeQuestion, signal)) as readonly Endpoint[]
  const log = portLog(tell, {})
  const inFlight = new CountedCalls(() =>
    systemTurn.after(REPORT_MS, () => tell({ news: 'calls', counts: inFlight.report() })),
  )
  const tap = new CallTap({ turn: systemTurn, random: systemRandom }, (ended) => tell({ news: 'ended', ended }))
  const shared = {
    ...{ clock: systemClock, log, endpoints: world, inFlight, loop },
    routeOf: (unit: string) => world.routeOf(unit),
    limitsOf: createCallLimits(systemClock),
    ...{ metrics, tap },
  }

  function create(name: DoorName, setup: DoorSetup): Ingress | LinkServer {
    const { listen, nodeId, graceMs, takeover, controlSocket } = setup
    if (setup.certificate !== undefined) {
      shown ??= changingCertificate(setup.certificate)
      shown.show(setup.certificate)
    }
    const certificate = shown?.certificate
    const config = { listen, nodeId, ...(graceMs !== undefined && { graceMs }), ...(takeover && { takeover }) }
    if (name === 'ingress') {
      const linkOf = (id: string) => (id === nodeId ? undefined : world.linkOf(id))
      return createIngress(
        { ...shared, random: systemRandom, linkOf, wake },
        { ...config, zone: setup.zone, certificate },
      )
    }
    if (certificate === undefined || controlSocket === undefined) throw new Error('a link server needs both')
    const isMember = (fingerprint: string): string | undefined => world.memberWith(fingerprint)
    return createLinkServer({ ...shared, isMember, guests }, { ...config, certificate, controlSocket })
  }

  const guests: Guests = {
    protocolOf: (offered) => offered.find((protocol) => invites.some((invite) => invite.protocol === protocol)),
    async take(socket, protocol) {
      const invite = invites.find((each) => each.protocol === protocol)
      const { remoteAddress: from = 'unknown' } = socket
      if (invite === undefined || guestsPresent >= MAX_GUESTS) {
        socket.destroy()
        return
      }
      guestsPresent += 1
      try {
        const give = async (): Promise<Uint8Array | undefined> =>
          (await talk.ask({ want: 'gift', protocol } satisfies NodeQuestion)) as Uint8Array | undefined
        tell({ news: 'guest', protocol, how: await serveGuest(systemClock, socket, invite.secret, give), from })
      } finally {
        guestsPresent -= 1
      }
    },
  }

  async function answer(
    question: ThreadQuestion,
    signal: AbortSignal,
  ): Promise<DoorState | readonly CallRow[] | readonly FaultRow[] | undefined> {
    if (question.do === 'count') return metrics.rows()
    if (question.do === 'faults') return metrics.faults.rows()
    if (question.do === 'drained') {
      await inFlight.drained(question.instance, signal)
      return undefined
    }
    if (question.do === 'start') doors.set(question.door, create(question.door, question.setup))
    const door = doors.get(question.door)
    if (door === undefined) return undefined
    if (question.do === 'start') await door.start()
    else if (question.do === 'open') await door.open()
    else if (question.do === 'retire') await door.retire(question.graceMs)
    else await door.stop()
    tap.flush()
    return { address: door.address(), handle: door.handle() }
  }

  function hear(news: ThreadNews): void {
    if (news.news === 'world') world.apply(news.change)
    else if (news.news === 'interest') tap.interest = news.interest
    else if (news.news === 'invites') invites = news.open
    else if (news.news === 'certificate') shown?.show(news.certificate)
    else (doors.get('link') as LinkServer | undefined)?.cut(news.nodeId)
  }
}

/** What is logged here is written by the node. */
function portLog(tell: (news: NodeNews) => void, own: Readonly<Record<string, unknown>>): Log {
  const at =
    (level: LogLevel) =>
    (message: string, fields: Readonly<Record<string, unknown>> = {}): void =>
      tell({ news: 'log', level, message, fields: plainFields({ ...own, ...fields }) })
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    with: (fields) => portLog(tell, { ...own, ...fields }),
  }
}

function plainFields(fields: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    Object.entries(fields).map(([key, value]) => [
      key,
      value instanceof Error ? value.message : JSON.parse(JSON.stringify(value ?? null)),
    ]),
  )
}
