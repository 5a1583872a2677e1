import { VERSION } from '../../../base/version.ts'
import type { LogLine } from '../query.ts'
import type { Destination, Sink } from './destination.ts'
import { otlpBody } from './otlp-format.ts'
import { otlpSink } from './otlp-sink.ts'
import { streamSink } from './stream-sink.ts'
import { frame, syslogMessage } from './syslog-format.ts'
import { udpSink } from './udp-sink.ts'

/** The way to a destination; nothing is opened before the first lines. `node` is who sends. */
export function createSink(destination: Destination, node: string): Sink {
  if (destination.kind === 'otlp') {
    return otlpSink(destination, (lines) => otlpBody(lines, { node, version: VERSION }))
  }
  const { transport, facility, framing, maxMessageBytes } = destination
  const terms = { hostname: node, facility, maxBytes: maxMessageBytes }
  const message = (line: LogLine): Buffer => syslogMessage(line, terms)
  if (transport.type === 'udp') return udpSink(transport, message)
  const target = transport.type === 'unix' ? { path: transport.path } : { host: transport.host, port: transport.port }
  return streamSink(target, (lines) => frame(lines.map(message), framing))
}
