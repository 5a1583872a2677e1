import type { MessageInitShape } from '@bufbuild/protobuf'
import { backoffMs } from '../base/backoff.ts'
import { HsuError, messageOf } from '../base/error.ts'
import { LastSeen } from '../base/last-seen.ts'
import { resumed } from '../base/resumed.ts'
import { systemRandom } from '../base/system-random.ts'
import {
  type CallOptions,
  type LogCursorSchema,
  Scope,
  type StreamLogsRequest,
  type StreamLogsResponseSchema,
} from '../rpc/index.ts'
import type { NodeCore } from './node-core.ts'
import { toTimestamp } from './to-proto.ts'

const BACKOFF = { minMs: 200, maxMs: 5_000, factor: 2, jitter: 0.2 } as const
/** Clocks of hosts differ; of replicas that showed no line yet, lines a little older than the follower do no harm. */
const CLOCKS_DIFFER_MS = 10_000
/** Instances whose place is known. */
const MAX_INSTANCES = 10_000

type LogItem = MessageInitShape<typeof StreamLogsResponseSchema>
type Cursor = MessageInitShape<typeof LogCursorSchema>

/**
 * The logs of another node. A follower goes on when that node, or the way to it, was gone for a while: behind the last line
 * it saw of each instance, so that none is missing and none comes twice. `late` = the node was not there when the follower
 * began, so that its past is of no interest.
 */
export async function* resumedLogs(
  core: Pick<NodeCore, 'control' | 'clock' | 'log'>,
  request: StreamLogsRequest,
  options: CallOptions,
  late = false,
): AsyncGenerator<LogItem> {
  const { control, clock, log } = core
  const own = { ...request, scope: Scope.NODE }
  if (!request.follow) {
    yield* control.streamLogs(own, options)
    return
  }
  const seen = new LastSeen<Cursor>(MAX_INSTANCES)
  const startedAt = toTimestamp(clock.wallMs() - CLOCKS_DIFFER_MS)
  let hasBegun = late

  async function* open(): AsyncGenerator<LogItem> {
    const { units, follow, stream, grep, level } = request
    const since = request.tail === undefined ? request.since : startedAt
    const place = { after: [...request.after, ...seen.all], ...(since === undefined ? {} : { since }) }
    const asked = hasBegun ? { units, follow, stream, grep, level, scope: Scope.NODE, ...place } : own
    hasBegun = true
    for await (const item of control.streamLogs(asked, options)) {
      if (item.line !== undefined) seen.note(item.line.instance, cursorOf(item.line))
      yield item
    }
    if (options.signal?.aborted !== true) throw new HsuError('NODE_UNREACHABLE', 'the node ended its answer')
  }

  yield* resumed(open, {
    clock,
    signal: options.signal,
    // A node that does not know the unit is not one that was lost.
    isBreak: (error) => !(error instanceof HsuError && error.reason === 'UNIT_NOT_FOUND'),
    onBreak: (error) =>
      log.warn('the logs of a node are interrupted, which is tried again', { cause: messageOf(error) }),
    restMs: (attempt) => backoffMs(attempt, BACKOFF, systemRandom),
  })
}

function cursorOf({ instance, seq, node }: { instance: string; seq: bigint; node: string }): Cursor {
  return { instance, seq, node }
}
