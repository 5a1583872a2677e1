import { jsonPost } from '../../../base/json-post.ts'
import { otlpAnswerOf } from '../../../base/otlp-answer.ts'
import type { LogLine } from '../query.ts'
import { type OtlpDestination, SendError, type Sink } from './destination.ts'

const TIMEOUT_MS = 10_000

/** OTLP/HTTP with JSON: each batch a request, which the collector acknowledges. */
export function otlpSink({ url, headers }: OtlpDestination, body: (lines: readonly LogLine[]) => string): Sink {
  const post = jsonPost(url, headers)
  return {
    timeoutMs: TIMEOUT_MS,
    close: () => post.close(),
    async send(lines, signal) {
      const answer = otlpAnswerOf(await post.send(body(lines), signal), 'rejectedLogRecords')
      const { why } = answer
      if (answer.taken) return answer.rejected > 0 ? { lines: answer.rejected, why } : undefined
      if (answer.passes) throw new SendError(why, answer.afterMs)
      return { lines: lines.length, why }
    },
  }
}
