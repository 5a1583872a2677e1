import t from 'tap'
import { routeSchema } from '../../../src/rpc/config.ts'
import {
  afterStatus,
  attemptSent,
  FIRST_ATTEMPT,
  type HedgeState,
  type HedgeTerms,
  mayHedge,
} from '../../../src/rpc/router/hedging.ts'
import { methodTerms } from '../../../src/rpc/router/method-terms.ts'

const UNAVAILABLE = 14
const TERMS: HedgeTerms = { attempts: 3, delayMs: 50, nonFatal: new Set([UNAVAILABLE]) }
const state = (sent: number, running: number, closed = false): HedgeState => ({ sent, running, closed })

t.test('attempts are sent up to their number', async (t) => {
  let now = FIRST_ATTEMPT
  const sent: boolean[] = []
  for (let at = 0; at < 3; at += 1) {
    sent.push(mayHedge(now, TERMS))
    now = attemptSent(now)
  }
  t.same(sent, [true, true, false])
  t.notOk(mayHedge(state(1, 1, true), TERMS), 'none once sending has ended')
})

t.test('what follows a status', async (t) => {
  const answer = { do: 'answer' }
  const wait = { do: 'wait' }
  const send = (afterMs: number) => ({ do: 'send', afterMs })
  const cases: [string, HedgeState, number | undefined, number | 'never' | undefined, object][] = [
    ['OK is the answer', state(2, 2), 0, undefined, answer],
    ['so is a fatal status, whoever else runs', state(2, 2), 3, undefined, answer],
    ['and one that is none', state(2, 2), undefined, undefined, answer],
    ['UNAVAILABLE: the next one at once', state(1, 1), UNAVAILABLE, undefined, send(0)],
    ['or when the unit says', state(2, 2), UNAVAILABLE, 700, send(700)],
    ['a unit that wants no more: the others go on', state(2, 2), UNAVAILABLE, 'never', wait],
    ['or, when there are none, it is the answer', state(1, 1), UNAVAILABLE, 'never', answer],
    ['all are sent: the others go on', state(3, 2), UNAVAILABLE, undefined, wait],
    ['the last one is the answer', state(3, 1), UNAVAILABLE, undefined, answer],
    ['no budget for more: the last one is the answer', state(2, 1, true), UNAVAILABLE, undefined, answer],
  ]
  for (const [what, before, status, pushback, step] of cases) {
    t.same(afterStatus(before, TERMS, status, pushback).step, step, what)
  }
  t.same(afterStatus(state(2, 2), TERMS, UNAVAILABLE, 'never').state, state(2, 1, true))
})

t.test('it is said per method, and only of idempotent ones', async (t) => {
  const hedging = { attempts: 3, delay: '20ms', non_fatal: ['UNAVAILABLE', 'RESOURCE_EXHAUSTED'] }
  const route = routeSchema.parse({ methods: { 'shop.v1.Orders/Get': { idempotent: true, hedging } } })
  t.same(methodTerms(route, '/shop.v1.Orders/Get').hedging, {
    attempts: 3,
    delayMs: 20,
    nonFatal: new Set([14, 8]),
  })
  t.equal(methodTerms(route, '/shop.v1.Orders/Put').hedging, undefined)
  const faults = (method: object): string[] =>
    routeSchema.safeParse({ methods: { 'a.B/C': method } }).error?.issues.map(({ message }) => message) ?? []
  t.same(faults({ hedging: {} }), ['is only for methods with idempotent: true'])
  t.same(faults({ idempotent: true, retries: 1, hedging: {} }), ['and retries exclude each other'])
})
