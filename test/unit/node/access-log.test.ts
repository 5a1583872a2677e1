import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createAccessLog } from '../../../src/node/calls/access-log.ts'
import { callLine } from '../../../src/node/calls/call-line.ts'
import { lineFile } from '../../../src/node/calls/line-file.ts'
import type { EndedCall, EndedCalls } from '../../../src/rpc/index.ts'
import { SimClock } from '../../../src/sim/sim-clock.ts'
import { endedCall } from '../../support/ended-call.ts'
import { memoryLog } from '../../support/memory-log.ts'

const CONTEXT = { node: 'a', nameOf: (id: string) => (id === 'id-b' ? 'b' : id) }

const call = (values: Partial<EndedCall> = {}): EndedCall =>
  endedCall({
    endedAtMs: Date.UTC(2030, 0, 1),
    tookMs: 1.23456,
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    ...values,
  })

function directory(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'hsu-access-'))
  t.teardown(() => rmSync(path, { recursive: true, force: true }))
  return path
}

t.test('a line says what a call was', async (t) => {
  t.same(callLine(call(), CONTEXT), {
    time: '2030-01-01T00:00:00.000Z',
    node: 'a',
    door: 'ingress',
    peer: '127.0.0.1:5000',
    service: 'shop.v1.Orders',
    method: 'Get',
    unit: 'shop',
    instance: 'shop-0-abc123',
    servedBy: 'a',
    code: 'OK',
    reason: '',
    seconds: 0.001235,
    requestBytes: 10,
    responseBytes: 20,
    attempts: 1,
    held: false,
    traceId: '0af7651916cd43dd8448eb211c80319c',
  })
  t.match(callLine(call({ servedBy: 'id-b' }), CONTEXT), { servedBy: 'b' })
  t.match(callLine(call({ door: 'link', peer: 'id-b' }), CONTEXT), { peer: 'b', servedBy: 'a' })
  t.match(callLine(call({ unit: '', instance: '', path: '/x', status: 12, reason: 'SERVICE_NOT_FOUND' }), CONTEXT), {
    service: '/x',
    method: '',
    servedBy: '',
    code: 'UNIMPLEMENTED',
  })
  t.equal(callLine(call({ path: `/${'s'.repeat(9_000)}/m` }), CONTEXT).service.length, 256)
})

/** An access log whose file is in the hand of the test. */
function rig(sample = 1) {
  const written: string[] = []
  const taps: ((ended: EndedCalls) => void)[] = []
  const disk = { fails: false, hold: Promise.resolve(), closed: false }
  const log = memoryLog()
  const access = createAccessLog(
    {
      clock: new SimClock(),
      log,
      watch: (interest, listener) => {
        t.match(interest, { share: sample, failed: true })
        taps.push(listener)
        return () => void taps.splice(0)
      },
      file: {
        async append(text) {
          await disk.hold
          if (disk.fails) throw new Error('no space left')
          written.push(text)
        },
        async close() {
          disk.closed = true
        },
      },
    },
    { ...CONTEXT, sample },
  )
  const ended = (calls: number, lost = 0): void =>
    taps.forEach((tap) => tap({ calls: Array.from({ length: calls }, () => call()), lost }))
  const lines = (): Record<string, unknown>[] =>
    written
      .join('')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
  return { access, ended, lines, disk, log, taps }
}

t.test('calls that ended before the stop are in the log', async (t) => {
  const { access, ended, lines, disk, taps } = rig(0.5)
  await access.start()
  ended(3)
  await access.stop()
  t.equal(lines().length, 3)
  t.ok(disk.closed)
  t.equal(taps.length, 0)
})

t.test('a disk that is slow costs lines, which are counted where they would be', async (t) => {
  const { access, ended, lines, disk } = rig()
  let release = (): void => undefined
  disk.hold = new Promise((resolve) => {
    release = resolve
  })
  await access.start()
  ended(1)
  for (let batch = 0; batch < 6; batch += 1) ended(4_000)
  ended(0, 7)
  release()
  await access.stop()
  t.equal(lines().length, 1 + 1 + 20_000)
  t.match(lines()[1], { node: 'a', lost: 4_007 })
})

t.test('a disk that refuses is told of once, and lines go on when it takes them', async (t) => {
  const { access, ended, lines, disk, log } = rig()
  await access.start()
  disk.fails = true
  for (let batch = 0; batch < 3; batch += 1) {
    ended(2)
    await new Promise(setImmediate)
  }
  t.equal(log.entries.filter(({ level }) => level === 'error').length, 1)
  disk.fails = false
  ended(1)
  await access.stop()
  t.match(lines(), [{ lost: 6 }, { unit: 'shop' }])
  t.equal(log.entries.at(-1)?.message, 'calls are logged again')
})

t.test('files are put aside at their size, and so many are kept', async (t) => {
  const path = directory(t)
  const to = join(path, 'logs', 'access.jsonl')
  const file = lineFile({ to, maxBytes: 100, keep: 2 })
  for (let at = 0; at < 10; at += 1) await file.append(`${at}${'x'.repeat(48)}\n`)
  await file.close()
  t.same(readdirSync(join(path, 'logs')).sort(), ['access.jsonl', 'access.jsonl.1', 'access.jsonl.2'])
  t.match(readFileSync(to, 'utf8'), /^8x+\n9x+\n$/)
  t.match(readFileSync(`${to}.2`, 'utf8'), /^4x+\n5x+\n$/)
  t.equal(statSync(to).mode & 0o777, 0o600)
})

t.test('a file that somebody else has put aside is left where it is', async (t) => {
  const to = join(directory(t), 'access.jsonl')
  const file = lineFile({ to, maxBytes: 100, keep: 2 })
  await file.append(`${'a'.repeat(90)}\n`)
  renameSync(to, `${to}.mine`)
  await file.append(`${'b'.repeat(90)}\n`)
  await file.close()
  t.match(readFileSync(`${to}.mine`, 'utf8'), /^a+\n$/)
  t.match(readFileSync(to, 'utf8'), /^b+\n$/)
})
