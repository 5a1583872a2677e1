import type { ServerHttp2Stream } from 'node:http2'
import { HsuError } from '../../base/error.ts'
import { answerFields, trailerFields } from '../grpc-answer.ts'
import { framed, messageReader } from './framing.ts'

/** The serving half of a stream of messages both ways, on a bare HTTP/2 stream. */
export interface GrpcStream {
  send(message: Uint8Array): void
  /** False while more is waiting for the client than it should: `onDrained` tells when it has taken that. */
  readonly writable: boolean
  /** Ends the call with this error; once is enough. */
  fail(error: HsuError): void
}

export interface GrpcStreamHandlers {
  /** @throws HsuError, with which the call ends */
  readonly onMessage: (message: Uint8Array) => void
  readonly onDrained: () => void
  /** The call is over, whoever ended it. Called once. */
  readonly onClosed: () => void
}

export function serveStream(stream: ServerHttp2Stream, handlers: GrpcStreamHandlers): GrpcStream {
  const read = messageReader(handlers.onMessage)
  let failure: HsuError | undefined
  const finish = (error: HsuError | undefined): void => {
    if (stream.destroyed || stream.writableEnded) return
    failure = error
    stream.end()
  }
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
  stream.on('wantTrailers', () => {
    stream.sendTrailers(failure === undefined ? { 'grpc-status': '0' } : trailerFields(failure))
  })
  stream.on('data', (chunk: Buffer) => {
    try {
      if (failure === undefined) read(chunk)
    } catch (thrown) {
      finish(HsuError.from(thrown))
    }
  })
  stream.on('end', () => finish(undefined))
  stream.on('drain', handlers.onDrained)
  stream.on('close', handlers.onClosed)
  return {
    send: (message) => {
      if (!stream.destroyed && !stream.writableEnded) stream.write(framed(message))
    },
    get writable() {
      return !stream.writableNeedDrain
    },
    fail: finish,
  }
}

/** Answers a call to what is not served here. */
export function refuse(stream: ServerHttp2Stream, path: string): void {
  stream.respond(answerFields(new HsuError('UNSUPPORTED', `${path} is not served here`)), { endStream: true })
}
