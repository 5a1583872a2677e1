import t from 'tap'
import { LoadBook } from '../../../../src/rpc/xds/load-book.ts'

const at = (slot: string) => ({ region: 'hsu', zone: '', sub_zone: `here/${slot}` })

function reportOf(name: string, ...slots: [slot: string, issued: number, underWay: number][]) {
  const stats = slots.map(([slot, issued, underWay]) => ({
    locality: at(slot),
    total_issued_requests: issued,
    total_requests_in_progress: underWay,
  }))
  return { cluster_stats: [{ cluster_name: name, upstream_locality_stats: stats }] }
}

t.test('calls under way are those of the last report of each client', async (t) => {
  const book = new LoadBook()
  const [one, other] = [book.begin(), book.begin()]
  one.report(reportOf('shop', ['api-0', 5, 2], ['api-1', 1, 1]), 1_000)
  other.report(reportOf('shop', ['api-0', 1, 3]), 1_000)
  t.equal(book.inFlight('api-0'), 5)
  t.equal(book.total('api-0'), 6)
  one.report(reportOf('shop', ['api-1', 0, 1]), 2_000)
  t.equal(book.inFlight('api-0'), 3)
  t.equal(book.inFlight('api-1'), 1)
  other.end()
  t.equal(book.inFlight('api-0'), 0, 'what a client had under way goes with it')
  t.equal(book.total('api-0'), 6, 'and what it had done stays done')
  t.equal(book.total('api-2'), 0)
})

t.test('a name was called last when somebody reported calls to it', async (t) => {
  const book = new LoadBook()
  const { report } = book.begin()
  t.equal(book.lastCallAtMs('shop'), undefined)
  report(reportOf('shop', ['api-0', 1, 0]), 1_000)
  report(reportOf('shop', ['api-0', 0, 0]), 2_000)
  t.equal(book.lastCallAtMs('shop'), 1_000, 'a report of no calls is none')
  report(reportOf('shop', ['api-0', 0, 1]), 3_000)
  t.equal(book.lastCallAtMs('shop'), 3_000, 'a stream that goes on is a call')
})
