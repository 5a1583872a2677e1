import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { HsuError, messageOf, systemCode } from '../../base/error.ts'
import type { Service } from '../../base/lifecycle.ts'
import type { Log } from '../../base/log.ts'
import { splitHostPort } from '../link-addresses.ts'

/** What a page answers with. */
export interface Answer {
  readonly status: 200 | 503
  readonly contentType: string
  readonly body: string
}

/** Pages by path. Each is asked anew for every request. */
export type Pages = Readonly<Record<string, () => Promise<Answer>>>

/** Plain HTTP for monitoring. */
export interface AdminServer extends Service {
  /** `host:port` where it listens; before the start, and when it is off, what was configured. */
  address(): string
}

/** Scrapers come one at a time; more is a mistake of somebody. */
const MAX_CONNECTIONS = 64
/** How long a request may take to arrive. */
const REQUEST_MS = 10_000

/** Serves `pages` at `listen`, or on a free port of the same host when that one is busy. */
export function createAdminServer({ log }: { log: Log }, listen: string, pages: Pages): AdminServer {
  let server: Server | undefined
  let address = listen
  return {
    name: 'admin',
    address: () => address,
    async start() {
      server = createServer((request, response) => {
        void respond(request, response, pages, log)
      })
      server.maxConnections = MAX_CONNECTIONS
      server.requestTimeout = REQUEST_MS
      server.headersTimeout = REQUEST_MS
      address = await bindOrNextBest(server, listen, log)
      server.on('error', (error) => log.error('listener failed', { listener: 'admin', cause: messageOf(error) }))
    },
    async stop() {
      const stopped = server
      server = undefined
      if (stopped?.listening !== true) return
      const closed = new Promise<void>((resolve) => stopped.close(() => resolve()))
      stopped.closeAllConnections()
      await closed
    },
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
    return await bind(server, host, port)
  } catch (cause) {
    if (systemCode(cause) !== 'EADDRINUSE' || port === 0) {
      const message = `admin cannot listen on ${listen}: ${messageOf(cause)}`
      throw new HsuError('CONFIG_INVALID', message, { details: { address: listen }, cause })
    }
    const used = await bind(server, host, 0)
    log.warn('port is busy; another one is used', { listener: 'admin', wanted: listen, used })
    return used
  }
}

function bind(server: Server, host: string, port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void => {
      server.off('listening', done)
      reject(error)
    }
    const done = (): void => {
      server.off('error', fail)
      const bound = server.address()
      const real = typeof bound === 'object' && bound !== null ? bound.port : 0
      resolve(host.includes(':') ? `[${host}]:${real}` : `${host}:${real}`)
    }
    server.once('error', fail)
    server.once('listening', done)
    server.listen({ host, port })
  })
}
