import { type ClientRequest, type IncomingMessage, request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { HsuError } from '../../base/error.ts'
import type { Probe } from '../probe.ts'

export interface HttpQuestion {
  readonly url: string
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  /** Unix socket to ask through, absolute. */
  readonly socket?: string | undefined
}

/** A health answer is small; what comes after this is not waited for. Kubernetes reads 10 KiB. */
const MAX_BODY_BYTES = 64 * 1024

/**
 * Passing when the answer is 2xx and complete. Redirects are not followed. A new connection each time, so that a
 * unit that accepts no more is noticed. Certificates are not verified, as a probe asks one address only (Kubernetes does the same).
 */
export function httpProbe({ url, method, headers, socket }: HttpQuestion): Probe {
  const target = parseUrl(url)
  const send = target.protocol === 'https:' ? httpsRequest : httpRequest
  return (signal) =>
    new Promise((resolve, reject) => {
      const options = {
        ...{ method, headers, agent: false, signal, rejectUnauthorized: false },
        ...(socket === undefined ? {} : { socketPath: socket }),
      } as const
      const request: ClientRequest = send(target, options, (response) => {
        const status = response.statusCode ?? 0
        const passed = status >= 200 && status < 300
        drain(response, request).then(() => (passed ? resolve(true) : reject(new Error(`HTTP ${status}`))), reject)
      })
      request.once('error', reject)
      request.end()
    })
}

/** Resolves when the body has ended or is longer than anyone needs; then the connection is closed. */
function drain(response: IncomingMessage, request: ClientRequest): Promise<void> {
  return new Promise((resolve, reject) => {
    let left = MAX_BODY_BYTES
    const finish = (): void => {
      resolve()
      request.destroy()
    }
    response.on('data', (chunk: Buffer) => {
      left -= chunk.length
      if (left < 0) finish()
    })
    response.once('end', finish)
    response.once('error', reject)
  })
}

function parseUrl(url: string): URL {
  if (URL.canParse(url)) return new URL(url)
  throw new HsuError('CONFIG_INVALID', `http probe: '${url}' is not a URL`, { details: { url } })
}
