import { Agent as HttpAgent, type IncomingMessage, request as httpRequest } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'

/** An answer is small; of what comes after this nothing is read. */
const MAX_ANSWER_BYTES = 64 * 1024
const MAX_RETRY_AFTER_MS = 300_000

export interface PostAnswer {
  /** Of HTTP. */
  readonly status: number
  readonly text: string
  /** When to come again; 0 when it is not told. */
  readonly retryAfterMs: number
}

/** Sends JSON to one URL, over one connection that is kept. */
export interface JsonPost {
  /** @throws what the system says; the signal's reason */
  send(body: string, signal: AbortSignal): Promise<PostAnswer>
  /** Idempotent. The next `send` connects again. */
  close(): void
}

export function jsonPost(url: string, headers: Readonly<Record<string, string>>): JsonPost {
  const isSecure = url.startsWith('https:')
  const agent = new (isSecure ? HttpsAgent : HttpAgent)({ keepAlive: true, maxSockets: 1 })
  const post = isSecure ? httpsRequest : httpRequest
  return {
    close: () => agent.destroy(),
    send(body, signal) {
      const payload = Buffer.from(body)
      const own = { 'content-type': 'application/json', 'content-length': payload.length }
      return new Promise((resolve, reject) => {
        const request = post(url, { method: 'POST', headers: { ...headers, ...own }, agent, signal }, (response) => {
          const { statusCode = 0 } = response
          const retryAfterMs = retryAfter(response.headers['retry-after'])
          textOf(response).then((text) => resolve({ status: statusCode, text, retryAfterMs }), reject)
        })
        request.once('error', reject)
        request.end(payload)
      })
    },
  }
}

/** Seconds; a date, which is allowed too, is left to the backoff. */
function retryAfter(value: string | undefined): number {
  const seconds = Number(value ?? 0)
  return Number.isFinite(seconds) ? Math.min(MAX_RETRY_AFTER_MS, Math.max(0, seconds * 1_000)) : 0
}

function textOf(response: IncomingMessage): Promise<string> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = []
    let bytes = 0
    const done = (): void => resolve(Buffer.concat(parts).toString('utf8'))
    response.on('data', (part: Buffer) => {
      bytes += part.length
      parts.push(part)
      if (bytes <= MAX_ANSWER_BYTES) return
      done()
      response.destroy()
    })
    response.once('end', done)
    response.once('error', reject)
  })
}
