import type { ServerHttp2Stream } from 'node:http2'
import type { Clock } from '../../base/clock.ts'
import { decode, encode } from './fields.ts'
import { type GrpcStream, serveStream } from './grpc-stream.ts'
import type { LoadBook } from './load-book.ts'
import { LOAD_REPORT_INTERVAL } from './resources.ts'
import { understood } from './understood.ts'

/** What a client is told of the reports that are wanted of it. */
const WANTED = { send_all_clusters: true, load_reporting_interval: LOAD_REPORT_INTERVAL }

/** Writes what a client reports of its calls into the book (LRS v3). `onClosed`: the stream is over. */
export function serveLoadReports(
  stream: ServerHttp2Stream,
  { book, clock }: { readonly book: LoadBook; readonly clock: Clock },
  onClosed: () => void,
): GrpcStream {
  const { report, end } = book.begin()
  let greeted = false
  const grpc = serveStream(stream, {
    onMessage: (message) => {
      understood(() => report(decode('LoadStatsRequest', message), clock.nowMs()))
      if (!greeted) grpc.send(encode('LoadStatsResponse', { ...WANTED }))
      greeted = true
    },
    onDrained: () => undefined,
    onClosed: () => {
      end()
      onClosed()
    },
  })
  return grpc
}
