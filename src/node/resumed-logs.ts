import type { MessageInitShape } from '@bufbuild/protobuf'
import { backoffMs } from '../base/backoff.ts'
import { HsuError, messageOf } from '../base/error.ts'
import { systemRandom } from '../base/system-random.ts'
import { type CallOptions, Scope, type StreamLogsRequest, type StreamLogsResponseSchema } from '../rpc/index.ts'
import type { NodeCore } from './node-core.ts'
import { toTimestamp } from './to-proto.ts'

const BACKOFF = { minMs: 200, maxMs: 5_000, factor: 2, jitter: 0.2 } as const
/** Clocks of hosts differ; of replicas that showed no line yet, lines a little older than the follower do no harm. */
const CLOCKS_DIFFER_MS = 10_000
/** Instances whose place is known; the one longest without a line is forgotten first. */
const MAX_INSTANCES = 10_000

type LogItem = MessageInitShape<typeof StreamLogsResponseSchema>

/**
 * The logs of another node. A follower goes on when that node, or the way to it, was gone for a while: behind the last line
 * it saw of each instance, so that none is missing and none comes twice.
 */
export async function* resumedLogs(
  core: Pick<NodeCore, 'control' | 'clock' | 'log'>,
  request: StreamLogsRequest,
  options: CallOptions,
): AsyncGenerator<LogItem> {
  const { control, clock, log } = core
  const own = { ...request, scope: Scope.NODE }
  if (!request.follow) {
    yield* control.streamLogs(own, options)
    return
  }
  const seen = new Map<string, bigint>(request.after.map(({ instance, seq }) => [instance, seq]))
  const startedAt = toTimestamp(clock.wallMs() - CLOCKS_DIFFER_MS)
  let next: typeof own = own
  for (let failures = 0; !isOver(options); ) {
    try {
      for await (const item of control.streamLogs(next, options)) {
        failures = 0
        remember(seen, item)
        yield item
      }
      if (isOver(options)) return
    } catch (error) {
      // A node that does not know the unit is not one that was lost.
      if (isOver(options) || (error instanceof HsuError && error.reason === 'UNIT_NOT_FOUND')) throw error
      if (failures === 0)
        log.warn('the logs of a node are interrupted, which is tried again', { cause: messageOf(error) })
    }
    failures += 1
    await clock.sleep(backoffMs(failures, BACKOFF, systemRandom), options.signal)
    next = resumed(own, seen, startedAt)
  }
}

function resumed(
  request: StreamLogsRequest,
  seen: ReadonlyMap<string, bigint>,
  startedAt: ReturnType<typeof toTimestamp>,
): StreamLogsRequest {
  const after = [...seen].map(([instance, seq]) => ({
    $typeName: 'hsu.control.v1.LogCursor' as const,
    instance,
    seq,
    node: '',
  }))
  const since =
    request.tail === undefined ? request.since : { $typeName: 'google.protobuf.Timestamp' as const, ...startedAt }
  return { ...request, tail: undefined, after, ...(since === undefined ? {} : { since }) }
}

function remember(seen: Map<string, bigint>, { line }: LogItem): void {
  if (line?.instance === undefined || line.seq === undefined) return
  // Deleted first, so that the order of the map is that of the last lines.
  seen.delete(line.instance)
  seen.set(line.instance, line.seq)
  const [longest] = seen.keys()
  if (seen.size > MAX_INSTANCES && longest !== undefined) seen.delete(longest)
}

/** The signal changes while we wait, which the compiler does not see. */
function isOver({ signal }: CallOptions): boolean {
  return signal?.aborted === true
}
