import { constants, type IncomingHttpHeaders, sensitiveHeaders } from 'node:http2'
import type { Clock } from '../base/clock.ts'
import { HsuError } from '../base/error.ts'
import type { Answer } from './answer.ts'
import type { HeaderBlock } from './header-fields.ts'
import type { RequestBody } from './request-body.ts'
import type { UpstreamStream } from './upstream-session.ts'

/** What bounds an exchange from outside. */
export interface ExchangeLimits {
  readonly clock: Clock
  /** Aborts when the caller is gone. */
  readonly gone: AbortSignal
  /** Undefined: as long as caller and upstream like. */
  readonly timeoutMs: number | undefined
}

/**
 * Passes request and response between a caller and an upstream, both ways at once, until the upstream's stream is
 * closed. Resolves to false when the upstream certainly processed nothing and nothing was answered; never rejects.
 */
export function exchange(
  upstream: UpstreamStream,
  body: RequestBody,
  answer: Answer,
  { clock, gone, timeoutMs }: ExchangeLimits,
): Promise<boolean> {
  const { stream } = upstream
  const over = new AbortController()
  let answered = false
  let complete = false
  let trailers: HeaderBlock | undefined

  const cancel = (): void => upstream.cancel()
  /** The response is all there; a request that still goes on is of no interest to anybody. */
  const completed = (): void => {
    complete = true
    if (!body.ended) cancel()
  }

  stream.on('response', (headers: IncomingHttpHeaders, flags: number, fields: string[]) => {
    answered = true
    body.commit()
    const alone = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0
    answer.begin(blockOf(headers, fields), alone)
    if (alone) completed()
  })
  stream.on('headers', (headers: IncomingHttpHeaders, _flags: number, fields: string[]) =>
    answer.inform(blockOf(headers, fields)),
  )
  stream.on('trailers', (headers: IncomingHttpHeaders, _flags: number, fields: string[]) => {
    trailers = blockOf(headers, fields)
  })
  stream.on('data', (chunk: Buffer) => {
    if (answer.write(chunk)) return
    stream.pause()
    answer.drained(() => stream.resume())
  })
  stream.on('end', () => {
    // Also the end of a stream that was reset: then 'close' follows, and knows better.
    if (!answered || complete || stream.rstCode !== constants.NGHTTP2_NO_ERROR) return
    if (trailers === undefined && upstream.lost()) return
    answer.finish(trailers)
    completed()
  })

  gone.addEventListener('abort', cancel)
  if (timeoutMs !== undefined) {
    const expire = (): void => {
      complete = true
      answer.fail(new HsuError('TIMED_OUT', `no answer within the ${timeoutMs} ms of the unit's route`))
      cancel()
    }
    void clock.sleep(timeoutMs, over.signal).then(expire, () => undefined)
  }
  body.sendTo(stream)

  return new Promise((resolve) => {
    stream.on('close', () => {
      over.abort()
      gone.removeEventListener('abort', cancel)
      const retry = !answered && !gone.aborted && upstream.unprocessed()
      if (!retry && !complete) interrupted(upstream, answer)
      resolve(!retry)
    })
  })
}

/** The upstream ended without a complete response: its connection is gone, or it reset the stream. */
function interrupted(upstream: UpstreamStream, answer: Answer): void {
  const { rstCode } = upstream.stream
  if (upstream.lost() || rstCode === constants.NGHTTP2_NO_ERROR) {
    answer.fail(new HsuError('NO_ENDPOINT', 'the connection to the unit was lost while the call was under way'))
  } else {
    answer.reset(rstCode)
  }
}

function blockOf(headers: IncomingHttpHeaders, fields: string[]): HeaderBlock {
  const { [sensitiveHeaders]: sensitive } = headers as { [sensitiveHeaders]?: string[] }
  return { fields, sensitive: sensitive ?? [] }
}
