import type { MessageInitShape } from '@bufbuild/protobuf'
import { HsuError, messageOf } from '../base/error.ts'
import { LEVELS, type LogLevelName, type LogQuery } from '../process/index.ts'
import type { CallContext, LogCursorSchema, StreamLogsRequest, StreamLogsResponseSchema } from '../rpc/index.ts'
import { fanOut } from './fan-out.ts'
import { resumedLogs } from './resumed-logs.ts'
import type { NodeCore } from './node-core.ts'
import { fromTimestamp, type Timestamp, toLogLine } from './to-proto.ts'

/** Longest regular expression accepted for `grep`. */
const MAX_PATTERN_CHARS = 1_000

/** Lines that a caller may name as seen: one for each instance it follows. */
const MAX_CURSORS = 10_000

type LogItem = MessageInitShape<typeof StreamLogsResponseSchema>

export function logHandlers(core: NodeCore) {
  return {
    streamLogs: (request: StreamLogsRequest, { signal }: CallContext) => streamLogs(core, request, signal),
  }
}

function streamLogs(core: NodeCore, request: StreamLogsRequest, signal: AbortSignal): AsyncIterable<LogItem> {
  const query = queryOf(core, request)
  // The last lines of all together, but for those who go on behind what they have seen: they miss nothing.
  const asked = request.after.length === 0 ? request : { ...request, tail: undefined }
  return fanOut<LogItem>(core, asked, signal, {
    own: async function* (signal) {
      for await (const line of core.supervisor.logs(query, signal)) yield { line: toLogLine(line, core.info.name) }
    },
    ofPeer: (options, late) => resumedLogs(core, request, options, late),
    takesNewcomers: true,
    keyOf: ({ line }) => fromTimestamp(line?.time as Timestamp | undefined) ?? 0,
  })
}

/** @throws HsuError `USAGE` */
function queryOf(core: NodeCore, request: StreamLogsRequest): LogQuery {
  const { units, follow, tail, since, until, stream, grep, level, after } = request
  if (follow && until !== undefined) throw new HsuError('USAGE', 'until and follow exclude each other')
  return {
    units,
    follow,
    tail,
    sinceMs: fromTimestamp(since),
    untilMs: fromTimestamp(until),
    stream: streamName(stream),
    grep: pattern(grep),
    level: levelName(level),
    after: cursors(core, after),
  }
}

function cursors(
  { info }: NodeCore,
  after: readonly Required<Pick<MessageInitShape<typeof LogCursorSchema>, 'instance' | 'seq' | 'node'>>[],
): { instance: string; seq: number }[] {
  if (after.length > MAX_CURSORS) throw new HsuError('USAGE', `at most ${MAX_CURSORS} lines may be named as seen`)
  const own = new Map<string, number>()
  for (const { instance, seq, node } of after) {
    if (node !== '' && node !== info.name && node !== info.nodeId) continue
    own.set(instance, Math.max(own.get(instance) ?? 0, Number(seq)))
  }
  return [...own].map(([instance, seq]) => ({ instance, seq }))
}

function streamName(name: string): 'stdout' | 'stderr' | undefined {
  if (name === '') return undefined
  if (name === 'stdout' || name === 'stderr') return name
  throw new HsuError('USAGE', `'${name}' is not a stream; use stdout or stderr`)
}

function levelName(name: string): LogLevelName | undefined {
  if (name === '') return undefined
  const level = LEVELS.find((each) => each === name)
  if (level !== undefined) return level
  throw new HsuError('USAGE', `'${name}' is not a level; use one of ${LEVELS.join(', ')}`)
}

function pattern(source: string): RegExp | undefined {
  if (source === '') return undefined
  if (source.length > MAX_PATTERN_CHARS) {
    throw new HsuError('USAGE', `the pattern is longer than ${MAX_PATTERN_CHARS} characters`)
  }
  try {
    return new RegExp(source, 'u')
  } catch (error) {
    throw new HsuError('USAGE', `'${source}' is not a regular expression: ${messageOf(error)}`)
  }
}
