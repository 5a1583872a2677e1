import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { fileEventDisk } from '../../../src/node/event-disk.ts'
import { compareIds, eventIds } from '../../../src/node/event-ids.ts'
import { ALL_EVENTS, type NodeEvent } from '../../../src/node/event.ts'
import { type EventLog, openEventLog } from '../../../src/node/event-log.ts'
import { memoryLog } from '../../support/memory-log.ts'
import { SimClock } from '../../../src/sim/sim-clock.ts'
import { SimEventDisk } from '../../../src/sim/sim-event-disk.ts'

const never = new AbortController().signal
const MIB = 1024 * 1024
const LIMITS = { maxBytes: 16 * MIB, maxAgeMs: 30 * 86_400_000 }

/** The clock, the disk and the logs of one node's data directory. */
class Place {
  readonly clock = new SimClock()
  readonly disk = new SimEventDisk(() => this.clock.wallMs())
  readonly log = memoryLog()

  async open(limits = LIMITS): Promise<EventLog> {
    return openEventLog(this, limits)
  }

  /** Appends events with these reasons, a millisecond apart. */
  async tell(events: EventLog, reasons: readonly (string | number)[], more: Partial<NodeEvent> = {}): Promise<void> {
    for (const reason of reasons) {
      const about = { node: 'a', unit: 'api', instance: '', type: 'unit.exited', details: {}, cause: '' }
      const by = { causedBy: '', actor: '' }
      events.append({ ...about, ...by, ...more, id: events.nextId(), wallMs: this.clock.wallMs(), reason: `${reason}` })
      await this.clock.advance(1)
    }
  }
}

async function reasons(events: EventLog, query: object = {}): Promise<string[]> {
  const all: string[] = []
  for await (const { reason } of events.query({ ...ALL_EVENTS, ...query }, never)) all.push(reason)
  return all
}

const numbers = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, index) => from + index)

t.test('ids grow over restarts, also when the clock went back', async (t) => {
  const first = eventIds(5_000, undefined)
  t.same([first.next(), first.peek(), first.next()], ['5-1', '5-2', '5-2'])
  t.equal(eventIds(4_000, '5-2').next(), '6-1')
  t.equal(eventIds(9_999, '5-2').next(), '9-1')
  t.same(['10-1', '9-2', '9-10'].toSorted(compareIds), ['9-2', '9-10', '10-1'])
})

t.test('events are there again after the node, and are filtered by unit, type and time', async (t) => {
  const place = new Place()
  const first = await place.open()
  await place.tell(first, [1, 2])
  await place.tell(first, [3], { unit: 'db', type: 'unit.failed' })
  await place.tell(first, [4], { unit: '', type: 'node.stopping' })
  await first.close()
  await place.clock.advance(60_000)

  const second = await place.open()
  await place.tell(second, [5])
  t.same(await reasons(second), ['1', '2', '3', '4', '5'])
  t.same(await reasons(second, { units: ['api'] }), ['1', '2', '5'])
  t.same(await reasons(second, { types: ['unit.failed'] }), ['3'])
  t.same(await reasons(second, { types: ['unit.*'] }), ['1', '2', '3', '5'])
  t.same(await reasons(second, { types: ['node.'] }), ['4'])
  t.same(await reasons(second, { tail: 2 }), ['4', '5'])
  t.same(await reasons(second, { tail: 2, units: ['api'] }), ['2', '5'])
  t.same(await reasons(second, { tail: 0 }), [])
  t.same(await reasons(second, { sinceMs: place.clock.wallMs() - 10_000 }), ['5'])
  t.same(await reasons(second, { untilMs: place.clock.wallMs() - 10_000, tail: 2 }), ['3', '4'])
  const all: NodeEvent[] = []
  for await (const event of second.query(ALL_EVENTS, never)) all.push(event)
  const [sinceMs, untilMs] = [all[1]?.wallMs, all[3]?.wallMs]
  t.same(await reasons(second, { sinceMs, untilMs }), ['2', '3'], 'the first moment belongs to it, the last does not')
  await second.close()
})

t.test('each event is found by its id, in memory and on disk', async (t) => {
  const place = new Place()
  const first = await place.open()
  await place.tell(first, numbers(1, 12))
  const ids: string[] = []
  for await (const { id } of first.query(ALL_EVENTS, never)) ids.push(id)
  await first.close()
  const second = await place.open()
  t.match(await second.find(ids[0] ?? ''), { reason: '1' })
  t.match(await second.find(ids[1] ?? ''), { reason: '2' }, 'not the tenth, whose id begins alike')
  t.match(await second.find(ids[11] ?? ''), { reason: '12' })
  t.equal(await second.find('1-1'), undefined)
  t.equal(await second.find('../x'), undefined)
  await place.tell(second, ['new'])
  t.match(await second.find((await lastOf(second)).id), { reason: 'new' })
  await second.close()
})

async function lastOf(events: EventLog): Promise<NodeEvent> {
  for await (const event of events.query({ ...ALL_EVENTS, tail: 1 }, never)) return event
  throw new Error('no event')
}

t.test('a follower gets what is kept and then what comes, each once, until it is told to stop', async (t) => {
  const place = new Place()
  const before = await place.open()
  await place.tell(before, [1])
  await before.close()
  const events = await place.open()
  await place.tell(events, [2])
  const stop = new AbortController()
  const seen: string[] = []
  const following = (async () => {
    for await (const { reason } of events.query({ ...ALL_EVENTS, follow: true }, stop.signal)) seen.push(reason)
  })()
  await place.tell(events, [3])
  await place.tell(events, [4])
  stop.abort()
  await following
  t.same(seen, ['1', '2', '3', '4'])
  await events.close()
})

t.test('what is on disk stays within its bound, the oldest go, and memory holds a small part', async (t) => {
  const place = new Place()
  const limits = { maxBytes: 64 * 1024, maxAgeMs: LIMITS.maxAgeMs }
  const events = await place.open(limits)
  await place.tell(events, numbers(1, 3_000))
  t.ok(place.disk.bytes <= limits.maxBytes, `${place.disk.bytes} bytes`)
  t.ok(place.disk.files.size > 10, 'in files of their own')
  const kept = await reasons(events)
  t.ok(kept.length > 300 && kept.length < 1_000, `${kept.length} kept`)
  t.same(kept, numbers(3_001 - kept.length, 3_000).map(String), 'the latest, without a gap')
  await events.close()
})

t.test('old events are removed, when there is something new to write', async (t) => {
  const place = new Place()
  const events = await place.open({ maxBytes: 16 * 1024, maxAgeMs: 86_400_000 })
  await place.tell(events, numbers(1, 8))
  await place.clock.advance(2 * 86_400_000)
  const before = place.disk.syncs
  await place.clock.advance(86_400_000)
  t.equal(place.disk.syncs, before, 'an idle node touches nothing')
  await place.tell(events, ['new', 'newer'])
  await place.tell(events, numbers(1, 10))
  await events.close()
  const reopened = await place.open()
  t.equal((await reasons(reopened))[0], 'new')
  await reopened.close()
})

t.test('a line that was not written to its end is passed over, and nothing is written behind it', async (t) => {
  const place = new Place()
  const first = await place.open()
  await place.tell(first, [1, 2])
  await first.close()
  const [file] = place.disk.files.values()
  if (file === undefined) throw new Error('no file')
  file.text = file.text.slice(0, -20)
  const second = await place.open()
  await place.tell(second, [3])
  t.same(await reasons(second), ['1', '3'])
  await second.close()
  const third = await place.open()
  t.same(await reasons(third), ['1', '3'])
  file.text = `garbage\n{"id":"broken\n${file.text}`
  t.same(await reasons(third), ['1', '3'], 'damaged lines are no events')
  await third.close()
})

t.test('a full disk is survived: the latest stay in memory, what is lost is counted, and it goes on', async (t) => {
  const place = new Place()
  const events = await place.open()
  await place.tell(events, [1, 2])
  place.disk.room = 100
  await place.tell(events, numbers(3, 10))
  t.same(await reasons(events), numbers(1, 10).map(String), 'shown though not on disk')
  t.match(place.log.entries, [{ level: 'error', message: /cannot be written/ }])
  t.equal(place.log.entries.length, 1, 'said once')

  place.disk.room = Infinity
  await place.clock.advance(5_000)
  t.equal(events.lost, 0)
  await events.close()
  const reopened = await place.open()
  t.same(await reasons(reopened), numbers(1, 10).map(String), 'nothing torn, nothing twice')

  place.disk.room = 0
  await place.tell(reopened, numbers(11, 710))
  place.disk.room = Infinity
  await place.clock.advance(5_000)
  t.equal(reopened.lost, 200, 'more than the memory holds')
  await reopened.close()
})

t.test('a disk that does not even let a torn line be cut gets its next events in another file', async (t) => {
  const place = new Place()
  const events = await place.open()
  await place.tell(events, [1])
  place.disk.stuck = true
  place.disk.room = 30
  await place.tell(events, [2, 3])
  place.disk.room = Infinity
  await place.clock.advance(5_000)
  await events.close()
  t.same(await reasons(await place.open()), ['1', '2', '3'])
})

t.test('what was written is made durable a second later, once for all of it', async (t) => {
  const place = new Place()
  const events = await place.open()
  await place.tell(events, numbers(1, 100))
  t.equal(place.disk.syncs, 0)
  await place.clock.advance(1_000)
  t.equal(place.disk.syncs, 1)
  await place.clock.advance(60_000)
  t.equal(place.disk.syncs, 1)
  await events.close()
})

t.test('the last few of a long past are found without reading all of it', async (t) => {
  const place = new Place()
  const first = await place.open({ maxBytes: 64 * 1024, maxAgeMs: LIMITS.maxAgeMs })
  await place.tell(first, numbers(1, 1_000))
  await first.close()
  const second = await place.open()
  place.disk.reads = 0
  t.same(await reasons(second, { tail: 3 }), ['998', '999', '1000'])
  t.equal(place.disk.reads, 1)
  await second.close()
})

t.test('a text of any length is cut', async (t) => {
  const place = new Place()
  const events = await place.open()
  await place.tell(events, ['x'.repeat(100_000)], { details: { output: 'y'.repeat(100_000) } })
  t.ok(place.disk.bytes < 5_000, `${place.disk.bytes} bytes`)
  await events.close()
})

t.test('on a real disk: private files, which the next node goes on with', async (t) => {
  const directory = join(t.testdir({}), 'events')
  const seams = { clock: new SimClock(), log: memoryLog() }
  const open = (): Promise<EventLog> => openEventLog({ ...seams, disk: fileEventDisk(directory) }, LIMITS)
  const place = new Place()
  const first = await open()
  t.throws(() => readdirSync(directory), 'nothing is made before there is something to write')
  await place.tell(first, [1, 'ü', '日本'])
  await first.close()
  const second = await open()
  await place.tell(second, [2])
  t.same(await reasons(second), ['1', 'ü', '日本', '2'])
  await second.close()
  const [name = '', ...others] = readdirSync(directory)
  t.same(others, [], 'in the same file')
  t.equal(statSync(join(directory, name)).mode & 0o777, 0o600)
  writeFileSync(join(directory, name), readFileSync(join(directory, name), 'utf8').slice(0, -5))
  writeFileSync(join(directory, 'README'), 'not an event file')
  const third = await open()
  await place.tell(third, [3])
  t.same(await reasons(third), ['1', 'ü', '日本', '3'])
  await third.close()
})
