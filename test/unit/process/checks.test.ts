import t from 'tap'
import { checkStep, unasked, worstOf } from '../../../src/process/checks.ts'

const policy = { delayMs: 0, intervalMs: 1_000, timeoutMs: 100, passAfter: 1, failAfter: 3 }
const good = { passed: true, reason: '' }
const bad = { passed: false, reason: 'HTTP 503' }

/** The states that a row of answers leads through: `+` good, `-` bad. */
function statesOf(answers: string, passAfter = 1, failAfter = 3): string {
  let check = unasked('page', failAfter)
  const states: string[] = []
  for (const answer of answers) {
    check = checkStep(check, answer === '+' ? good : bad, { ...policy, passAfter, failAfter })
    states.push(check.state)
  }
  return states.join(' ')
}

t.test('a check that fails is degraded, and unhealthy when it failed often enough in a row', async (t) => {
  t.equal(statesOf('+---'), 'healthy degraded degraded unhealthy')
  t.equal(statesOf('+--+--'), 'healthy degraded degraded healthy degraded degraded', 'flapping never is')
  t.equal(statesOf('+-', 1, 1), 'healthy unhealthy')
  t.equal(statesOf('---+'), 'degraded degraded unhealthy healthy', 'from the start too')
})

t.test('it takes as many good answers as are asked for to be healthy', async (t) => {
  t.equal(statesOf('+++', 3), 'unknown unknown healthy')
  t.equal(
    statesOf('+++---+-+++', 3),
    'unknown unknown healthy degraded degraded unhealthy unhealthy unhealthy unhealthy unhealthy healthy',
  )
})

t.test('answers are counted, and the last message kept while it is bad', async (t) => {
  let check = unasked('page', 3)
  for (const answer of [good, good, bad, bad]) check = checkStep(check, answer, policy)
  t.match(check, { check: 'page', good: 2, bad: 2, failures: 2, failAfter: 3, message: 'HTTP 503', state: 'degraded' })
  t.match(checkStep(check, good, policy), { failures: 0, message: '', good: 3, state: 'healthy' })
})

t.test('a unit is as its worst check is', async (t) => {
  const worst = (...states: Parameters<typeof worstOf>[0][number]['state'][]) =>
    worstOf(states.map((state) => ({ state })))
  t.equal(worst('healthy', 'unhealthy', 'degraded'), 'unhealthy')
  t.equal(worst('healthy', 'degraded', 'unknown'), 'degraded')
  t.equal(worst('healthy', 'unknown'), 'unknown')
  t.equal(worst(), 'healthy', 'without checks, being there is all that is asked')
})
