import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { anyPack } from '@bufbuild/protobuf/wkt'
import { Metadata, status as codes } from '@grpc/grpc-js'
import t from 'tap'
import { HsuError, type Reason, REASONS } from '../../../src/base/error.ts'
import { ErrorInfoSchema } from '../../../src/rpc/gen/google/rpc/error_details_pb.ts'
import { StatusSchema } from '../../../src/rpc/gen/google/rpc/status_pb.ts'
import { fromStatus, toStatus } from '../../../src/rpc/status.ts'
import { statusParts } from '../../../src/rpc/status-text.ts'

const plain = (code: codes, details: string, metadata = new Metadata()) => ({ code, details, metadata })
const detailsBin = (bytes: Uint8Array): Metadata => {
  const metadata = new Metadata()
  metadata.set('grpc-status-details-bin', Buffer.from(bytes))
  return metadata
}

t.test('what the thread of calls writes by hand is what the library writes', async (t) => {
  for (const reason of Object.keys(REASONS) as Reason[]) {
    const details = { unit: 'ünit', count: 7, empty: '', long: 'x'.repeat(300), known: true }
    const error = new HsuError(reason, `naïve: ${'y'.repeat(3_000)}`, { details })
    const { code, details: message, metadata } = toStatus(error)
    const parts = statusParts(error)
    t.same([parts.code, parts.message], [code, message], reason)
    const [bytes] = metadata.get('grpc-status-details-bin')
    t.ok(fromStatus(plain(code, message, detailsBin(parts.details)), 'there').details['unit'] === 'ünit', reason)
    if (typeof bytes !== 'string')
      t.same(fromBinary(StatusSchema, parts.details), fromBinary(StatusSchema, bytes ?? Buffer.alloc(0)))
  }
})

t.test('an HsuError crosses the wire', async (t) => {
  t.test('with its reason, message and details, whatever the reason', async (t) => {
    for (const reason of Object.keys(REASONS) as Reason[]) {
      const sent = toStatus(new HsuError(reason, `${reason} at 'é'`, { details: { unit: 'api', count: 3, ok: true } }))
      t.equal(sent.code, codes[REASONS[reason].status])
      const back = fromStatus(sent, 'unix:/x')
      t.match(back, { reason, message: `${reason} at 'é'`, details: { unit: 'api', count: '3', ok: 'true' } })
    }
  })

  t.test('with a text that a URI can escape', async (t) => {
    const { details } = toStatus(new HsuError('USAGE', 'half a pair \ud800 here'))
    t.equal(details, 'half a pair \ufffd here')
    t.doesNotThrow(() => encodeURI(details))
  })

  t.test('within the metadata that other libraries accept', async (t) => {
    const details = Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`key${index}`, 'v'.repeat(100)]))
    const sent = toStatus(new HsuError('USAGE', 'x'.repeat(100_000), { details }))
    const [bytes] = sent.metadata.get('grpc-status-details-bin')
    t.ok(sent.details.length + (bytes as Buffer).length * 1.34 < 8_192)
    t.equal(fromStatus(sent, 'x').reason, 'USAGE')
  })
})

t.test('a status that is not ours gets the nearest reason', async (t) => {
  const cases: readonly [code: codes, details: string, target: string, reason: Reason][] = [
    [codes.CANCELLED, 'gone', 'h:1', 'CANCELLED'],
    [codes.INVALID_ARGUMENT, 'bad', 'h:1', 'USAGE'],
    [codes.DEADLINE_EXCEEDED, 'late', 'h:1', 'TIMED_OUT'],
    [codes.NOT_FOUND, 'none', 'h:1', 'UNIT_NOT_FOUND'],
    [codes.ALREADY_EXISTS, 'is', 'h:1', 'UNIT_EXISTS'],
    [codes.PERMISSION_DENIED, 'no', 'h:1', 'NOT_PERMITTED'],
    [codes.UNAUTHENTICATED, 'who', 'h:1', 'NOT_AUTHENTICATED'],
    [codes.RESOURCE_EXHAUSTED, 'full', 'h:1', 'LIMIT_EXCEEDED'],
    [codes.UNIMPLEMENTED, 'never', 'h:1', 'UNSUPPORTED'],
    [codes.UNAVAILABLE, 'connect ECONNREFUSED 127.0.0.1:1', 'h:1', 'NODE_UNREACHABLE'],
    [codes.UNAVAILABLE, 'connect ENOENT /x', 'unix:/x', 'NOT_STARTED'],
    [codes.UNAVAILABLE, 'overloaded', 'unix:/x', 'NODE_UNREACHABLE'],
    [codes.UNKNOWN, 'boom', 'h:1', 'INTERNAL'],
    [codes.DATA_LOSS, 'boom', 'h:1', 'INTERNAL'],
  ]
  for (const [code, details, target, reason] of cases) {
    t.match(fromStatus(plain(code, details), target), { reason, details: { code: codes[code], target } })
  }
  t.equal(fromStatus(plain(codes.UNKNOWN, 'boom'), 'h:1').message, 'UNKNOWN: boom')
})

t.test('details that are not ours are passed over', async (t) => {
  const foreign = create(ErrorInfoSchema, { reason: 'USAGE', domain: 'elsewhere.com' })
  const bytes = toBinary(StatusSchema, create(StatusSchema, { details: [anyPack(ErrorInfoSchema, foreign)] }))
  t.equal(fromStatus(plain(codes.UNKNOWN, 'boom', detailsBin(bytes)), 'x').reason, 'INTERNAL', 'another domain')

  const newer = create(ErrorInfoSchema, { reason: 'FROM_THE_FUTURE', domain: 'hsu' })
  const ahead = toBinary(StatusSchema, create(StatusSchema, { details: [anyPack(ErrorInfoSchema, newer)] }))
  t.equal(fromStatus(plain(codes.NOT_FOUND, 'no', detailsBin(ahead)), 'x').reason, 'UNIT_NOT_FOUND', 'a newer node')

  const garbage = detailsBin(Uint8Array.of(0xff, 0xff, 0xff))
  t.equal(fromStatus(plain(codes.NOT_FOUND, 'no', garbage), 'x').reason, 'UNIT_NOT_FOUND', 'garbage')
})

t.test('what is no status at all is internal', async (t) => {
  t.equal(fromStatus(new TypeError('x is undefined'), 'x').reason, 'INTERNAL')
  const known = new HsuError('USAGE', 'as it was')
  t.equal(fromStatus(known, 'x'), known)
})
