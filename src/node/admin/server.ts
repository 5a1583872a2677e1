import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { bind } from '../../base/bind.ts'
import { type Clock, within } from '../../base/clock.ts'
import { HsuError, messageOf, systemCode } from '../../base/error.ts'
import type { Log } from '../../base/log.ts'
import { descriptorOf, type Door, type DoorHandle, type Takeover } from '../../rpc/index.ts'
import { hostPort, splitHostPort } from '../link-addresses.ts'

/** What a page answers with. */
export interface Answer {
  readonly status: 200 | 503
  readonly contentType: string
  readonly body: string
}

/** Pages by path. Each is asked anew for every request. */
export type Pages = Readonly<Record<string, () => Promise<Answer>>>

/** Plain HTTP for monitoring. */
export interface AdminServer extends Door {
  /** `host:port` where it listens; before the start, and when it is off, what was configured. */
  address(): string
  /** The listening socket, for another process; undefined when there is none. */
  handle(): DoorHandle | undefined
}

export interface AdminSeams {
  readonly clock: Clock
  readonly log: Log
}

export interface AdminConfig {
  /** `host:port`. */
  readonly listen: string
  /** With it, `start` lets nobody in yet when the process before this one leaves its door: that is left to `open`. */
  readonly takeover?: Takeover
}

/** Scrapers come one at a time; more is a mistake of somebody. */
const MAX_CONNECTIONS = 64
/** How long a request may take to arrive. */
const REQUEST_MS = 10_000

/** Serves `pages` at `listen`, or on a free port of the same host when that one is busy. */
export function createAdminServer(
  { clock, log }: AdminSeams,
  { listen, takeover }: AdminConfig,
  pages: Pages,
): AdminServer {
  const inherited = takeover?.handle?.configured === listen ? takeover.handle : undefined
  let server: Server | undefined
  let address = inherited?.address ?? listen

  async function open(): Promise<void> {
    if (server !== undefined) return
    server = createServer((request, response) => {
      void respond(request, response, pages, log)
    })
    server.maxConnections = MAX_CONNECTIONS
    server.requestTimeout = REQUEST_MS
    server.headersTimeout = REQUEST_MS
    if (inherited === undefined) address = await bindOrNextBest(server, listen, log)
    else await bind(server, { fd: inherited.fd })
    server.on('error', (error) => log.error('listener failed', { listener: 'admin', cause: messageOf(error) }))
  }

  /** Ends at once the connections on which nothing is asked, and the others after `graceMs`. */
  async function end(graceMs: number): Promise<void> {
    const stopped = server
    server = undefined
    if (stopped?.listening !== true) return
    const closed = new Promise<void>((resolve) => stopped.close(() => resolve()))
    stopped.closeIdleConnections()
    await within(clock, graceMs, closed)
    stopped.closeAllConnections()
    await closed
  }

  return {
    name: 'admin',
    address: () => address,
    handle() {
      const fd = server === undefined ? undefined : descriptorOf(server)
      return fd === undefined ? undefined : { fd, address, configured: listen }
    },
    async start() {
      if (inherited === undefined) await open()
    },
    open,
    retire: end,
    stop: () => end(0),
  }
}

async function respond(request: IncomingMessage, response: ServerResponse, pages: Pages, log: Log): Promise<void> {
  const { method, url = '/' } = request
  const path = url.replace(/[?#].*$/s, '')
  const page = Object.hasOwn(pages, path) ? pages[path] : undefined
  if (method !== 'GET' && method !== 'HEAD') {
    send(response, 405, { allow: 'GET, HEAD' }, 'only GET and HEAD\n')
    return
  }
  if (page === undefined) {
    send(response, 404, {}, `no such page; there are ${Object.keys(pages).join(' and ')}\n`)
    return
  }
  try {
    const { status, contentType, body } = await page()
    send(response, status, { 'content-type': contentType }, body)
  } catch (error) {
    log.error('a page of the admin server failed', { path, error })
    send(response, 500, {}, 'internal error; the log of the node says more\n')
  }
}

/** Node.js leaves the body out of the answer to HEAD by itself. */
function send(response: ServerResponse, status: number, headers: Readonly<Record<string, string>>, body: string): void {
  response.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    'cache-control': 'no-store',
    'content-length': Buffer.byteLength(body),
    ...headers,
  })
  response.end(body)
}

async function bindOrNextBest(server: Server, listen: string, log: Log): Promise<string> {
  const { host, port } = splitHostPort(listen)
  try {
    await bind(server, { host, port })
  } catch (cause) {
    if (systemCode(cause) !== 'EADDRINUSE' || port === 0) {
      const message = `admin cannot listen on ${listen}: ${messageOf(cause)}`
      throw new HsuError('CONFIG_INVALID', message, { details: { address: listen }, cause })
    }
    await bind(server, { host, port: 0 })
    log.warn('port is busy; another one is used', { listener: 'admin', wanted: listen, used: addressOf(server, host) })
  }
  return addressOf(server, host)
}

function addressOf(server: Server, host: string): string {
  const bound = server.address()
  return hostPort(host, typeof bound === 'object' && bound !== null ? bound.port : 0)
}
