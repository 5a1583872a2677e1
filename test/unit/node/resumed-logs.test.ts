import { create } from '@bufbuild/protobuf'
import t from 'tap'
import { HsuError } from '../../../src/base/error.ts'
import type { NodeCore } from '../../../src/node/node-core.ts'
import { resumedLogs } from '../../../src/node/resumed-logs.ts'
import {
  LogCursorSchema,
  type StreamLogsRequest,
  StreamLogsRequestSchema,
} from '../../../src/rpc/gen/hsu/control/v1/control_pb.ts'
import { memoryLog } from '../../support/memory-log.ts'
import { SimClock } from '../../../src/sim/sim-clock.ts'
import { throwsReason } from '../../support/throws-reason.ts'
import { until } from '../../support/until.ts'

/** A node with two instances whose answer breaks after every third line. */
function frailNode(lines: readonly { instance: string; seq: bigint }[], end: 'break' | 'end') {
  const asked: StreamLogsRequest[] = []
  async function* streamLogs(request: StreamLogsRequest) {
    asked.push(request)
    const seenTo = new Map(request.after.map(({ instance, seq }) => [instance, seq]))
    const unseen = lines.filter(({ instance, seq }) => seq > (seenTo.get(instance) ?? -1n))
    for (const line of unseen.slice(0, 3)) yield { line: { ...line, node: 'edge-b' } }
    if (end === 'break') throw new HsuError('NODE_UNREACHABLE', 'gone')
  }
  return { asked, control: { streamLogs } as unknown as NodeCore['control'] }
}

const LINES = Array.from({ length: 20 }, (_, n) => ({ instance: `api-${n % 2}-aa`, seq: BigInt(Math.floor(n / 2)) }))

for (const end of ['break', 'end'] as const) {
  t.test(`a follower of a node whose answer meets its ${end} gets each line once`, async (t) => {
    const { asked, control } = frailNode(LINES, end)
    const clock = new SimClock()
    const log = memoryLog()
    const stop = new AbortController()
    const request = create(StreamLogsRequestSchema, { units: ['api'], follow: true, tail: 5, level: 'info' })
    const seen: string[] = []
    const reading = (async () => {
      for await (const { line } of resumedLogs({ control, clock, log }, request, { signal: stop.signal })) {
        seen.push(`${line?.instance} ${line?.seq}`)
      }
    })().catch(() => undefined)
    await until('all lines', async () => {
      await clock.advance(1_000)
      return seen.length >= LINES.length
    })
    await clock.advance(20_000)
    t.same(
      seen,
      LINES.map(({ instance, seq }) => `${instance} ${seq}`),
    )
    t.match(asked[0], { tail: 5, follow: true, level: 'info', scope: 1 })
    t.match(asked[1], { tail: undefined, follow: true, level: 'info', scope: 1, since: {}, after: { length: 2 } })
    t.ok(log.entries.some(({ message }) => message.includes('interrupted')))
    stop.abort()
    await reading
  })
}

t.test('what others saw goes along with what it saw itself; a unit it does not know ends it', async (t) => {
  const { asked, control } = frailNode(LINES.slice(0, 4), 'break')
  const clock = new SimClock()
  const stop = new AbortController()
  const after = [create(LogCursorSchema, { instance: 'api-0-aa', seq: 0n, node: 'edge-b' })]
  const request = create(StreamLogsRequestSchema, { follow: true, after })
  const seen: bigint[] = []
  const reading = (async () => {
    for await (const { line } of resumedLogs({ control, clock, log: memoryLog() }, request, { signal: stop.signal })) {
      seen.push(line?.seq ?? -1n)
    }
  })().catch(() => undefined)
  await until('a second try', async () => {
    await clock.advance(1_000)
    return asked.length > 1
  })
  t.same(seen, [0n, 1n, 1n])
  t.equal(asked[1]?.after.length, 3)
  stop.abort()
  await reading

  const unknown = async function* () {
    yield* []
    throw new HsuError('UNIT_NOT_FOUND', 'no')
  }
  const core = { control: { streamLogs: unknown } as unknown as NodeCore['control'], clock, log: memoryLog() }
  await throwsReason(t, 'UNIT_NOT_FOUND', () => resumedLogs(core, request, {}).next())
})
