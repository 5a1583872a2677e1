import { Agent as HttpAgent, type IncomingMessage, request as httpRequest } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import type { LogLine } from '../query.ts'
import { type OtlpDestination, type Refusal, SendError, type Sink } from './destination.ts'

const TIMEOUT_MS = 10_000
/** An answer is small; of what comes after this nothing is read. */
const MAX_ANSWER_BYTES = 64 * 1024
const MAX_RETRY_AFTER_MS = 300_000
/** Credentials get right again without us; so do collectors behind a proxy. The protocol names 429, 502, 503 and 504. */
const PASSING = new Set([401, 403, 404, 408, 429, 500, 502, 503, 504])

/** OTLP/HTTP with JSON: each batch a request, which the collector acknowledges. */
export function otlpSink({ url, headers }: OtlpDestination, body: (lines: readonly LogLine[]) => string): Sink {
  const isSecure = url.startsWith('https:')
  const agent = new (isSecure ? HttpsAgent : HttpAgent)({ keepAlive: true, maxSockets: 1 })
  const post = isSecure ? httpsRequest : httpRequest

  function answerTo(payload: Buffer, signal: AbortSignal): Promise<{ response: IncomingMessage; text: string }> {
    return new Promise((resolve, reject) => {
      const own = { 'content-type': 'application/json', 'content-length': payload.length }
      const request = post(url, { method: 'POST', headers: { ...headers, ...own }, agent, signal }, (response) => {
        textOf(response).then((text) => resolve({ response, text }), reject)
      })
      request.once('error', reject)
      request.end(payload)
    })
  }

  return {
    timeoutMs: TIMEOUT_MS,
    close: () => agent.destroy(),
    async send(lines, signal) {
      const { response, text } = await answerTo(Buffer.from(body(lines)), signal)
      const status = response.statusCode ?? 0
      if (status >= 200 && status < 300) return partly(text)
      const why = `HTTP ${status}${text === '' ? '' : `: ${text.slice(0, 200)}`}`
      if (PASSING.has(status)) throw new SendError(why, retryAfterMs(response.headers['retry-after']))
      return { lines: lines.length, why }
    },
  }
}

/** What the collector took only in part (`ExportLogsPartialSuccess`). */
function partly(text: string): Refusal | undefined {
  try {
    const { partialSuccess } = JSON.parse(text) as {
      partialSuccess?: { rejectedLogRecords?: string | number; errorMessage?: string }
    }
    const lines = Number(partialSuccess?.rejectedLogRecords ?? 0)
    return lines > 0 ? { lines, why: partialSuccess?.errorMessage ?? 'it does not say why' } : undefined
  } catch {
    return undefined
  }
}

/** Seconds; a date, which is allowed too, is left to the backoff. */
function retryAfterMs(value: string | undefined): number {
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
