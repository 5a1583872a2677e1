import { jsonPost } from '../../../base/json-post.ts'
import type { LogLine } from '../query.ts'
import { type OtlpDestination, type Refusal, SendError, type Sink } from './destination.ts'

const TIMEOUT_MS = 10_000
/** Credentials get right again without us; so do collectors behind a proxy. The protocol names 429, 502, 503 and 504. */
const PASSING = new Set([401, 403, 404, 408, 429, 500, 502, 503, 504])

/** OTLP/HTTP with JSON: each batch a request, which the collector acknowledges. */
export function otlpSink({ url, headers }: OtlpDestination, body: (lines: readonly LogLine[]) => string): Sink {
  const post = jsonPost(url, headers)
  return {
    timeoutMs: TIMEOUT_MS,
    close: () => post.close(),
    async send(lines, signal) {
      const { status, text, retryAfterMs } = await post.send(body(lines), signal)
      if (status >= 200 && status < 300) return partly(text)
      const why = `HTTP ${status}${text === '' ? '' : `: ${text.slice(0, 200)}`}`
      if (PASSING.has(status)) throw new SendError(why, retryAfterMs)
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
