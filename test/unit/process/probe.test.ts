import t from 'tap'
import type { ProbeConfig } from '../../../src/process/config.ts'
import { startingInterval } from '../../../src/process/health.ts'
import { type Answer, judge, type Probe, type Verdict, watchHealth } from '../../../src/process/probe.ts'
import { ladderProbe } from '../../../src/process/probes/grpc.ts'
import { createProbe } from '../../../src/process/probes/index.ts'
import { fakeTable, processInfo } from '../../support/fake-table.ts'
import { SimClock } from '../../../src/sim/sim-clock.ts'
import { throwsReason } from '../../support/throws-reason.ts'

const policy = { delayMs: 0, intervalMs: 1_000, timeoutMs: 100, passAfter: 1, failAfter: 3 }

t.test('judge', async (t) => {
  t.test('needs a row of dissent to change its mind', async (t) => {
    const strict = { ...policy, passAfter: 2, failAfter: 2 }
    const verdicts = (answers: string): string => {
      let health: { verdict: Verdict; dissent: number } = { verdict: 'failing', dissent: 0 }
      return answers
        .split('')
        .map((answer) => {
          health = judge(health, answer === '+', strict)
          return health.verdict === 'passing' ? 'P' : 'F'
        })
        .join('')
    }
    t.equal(verdicts('+-+-++-+-+--+'), 'FFFFFPPPPPPFF')
  })
})

t.test('watching health', async (t) => {
  const watch = (probe: Probe, given: Partial<typeof policy> = {}, initial: Verdict = 'failing') => {
    const clock = new SimClock()
    const stop = new AbortController()
    const seen: [Verdict, number, string][] = []
    const answers: Answer[] = []
    const seams = { clock, initial, onAnswer: (answer: Answer) => answers.push(answer) }
    const watching = (async () => {
      for await (const { verdict, reason } of watchHealth(probe, { ...policy, ...given }, seams, stop.signal)) {
        seen.push([verdict, clock.nowMs(), reason])
      }
    })()
    const end = async (): Promise<void> => {
      stop.abort()
      await watching
      t.equal(clock.sleeping, 0)
    }
    return { clock, seen, answers, end }
  }

  t.test('a unit that stops answering is failing after three probes, not one', async () => {
    let hangs = false
    const { clock, seen, end } = watch(async () => (hangs ? new Promise<boolean>(() => undefined) : true))
    await clock.advance(5_500)
    hangs = true
    await clock.advance(10_000)
    t.same(seen, [
      ['passing', 0, ''],
      ['failing', 6_000 + 2 * 1_100 + 100, 'no answer within 100 ms'],
    ])
    await end()
  })

  t.test('the first question is asked after the delay', async () => {
    const { clock, seen, end } = watch(async () => true, { delayMs: 3_000 })
    await clock.advance(10_000)
    t.same(seen, [['passing', 3_000, '']])
    await end()
  })

  t.test('the reason of each answer is told while the verdict stands', async () => {
    const refused = Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:1'), { code: 'ECONNREFUSED' })
    const { clock, seen, answers, end } = watch(async () => Promise.reject(refused))
    await clock.advance(1_500)
    t.same(seen, [])
    t.same(answers, [
      { passed: false, reason: 'connection refused' },
      { passed: false, reason: 'connection refused' },
    ])
    await end()
  })

  t.test('liveness begins with passing, so that a unit that never answers is noticed', async () => {
    const { clock, seen, end } = watch(async () => false, {}, 'passing')
    await clock.advance(10_000)
    t.same(seen, [['failing', 2_000, 'the answer was no']])
    await end()
  })

  t.test('abort ends a probe that is under way, and that is no answer', async () => {
    let aborted = false
    const { clock, answers, end } = watch(
      (signal) =>
        new Promise((_, reject) => {
          signal.addEventListener('abort', () => {
            aborted = true
            reject(new Error('aborted'))
          })
        }),
    )
    await clock.advance(50)
    await end()
    t.equal(aborted, true)
    t.same(answers, [])
  })
})

t.test('a probe made from the configuration', async (t) => {
  const base: ProbeConfig = { every: 5_000, timeout: 1_000, delay: 10, ok: 1, fail: 3, owner: 'own', enabled: true }
  const table = fakeTable([processInfo({ pid: 10 })])
  const asked: string[] = []
  const ran: unknown[] = []
  const make = (config: Partial<ProbeConfig>, grpcAddress: string | undefined = '127.0.0.1:7') =>
    createProbe(
      { ...base, ...config },
      {
        identity: { pid: 10, startTime: 'start-10', bootId: 'boot-1' },
        expand: (text) => text.replace('{port.http}', '8080'),
        grpcAddress,
        cwd: '/srv',
        env: { A: 'b' },
        user: 'svc',
      },
      {
        table,
        run: async (argv, options) => {
          ran.push([argv, options])
          return { exit: { code: ran.length === 1 ? 0 : 3 }, stdout: 'first\nnot yet\n' }
        },
        grpc: {
          async check(address, what) {
            asked.push(`${address} ${what}`)
            return true
          },
        },
      },
    )
  const never = new AbortController().signal

  t.test('has the policy of the file', async (t) => {
    t.same(make({ process: true }).policy, {
      delayMs: 10,
      intervalMs: 5_000,
      timeoutMs: 1_000,
      passAfter: 1,
      failAfter: 3,
    })
  })
  t.test('process: the very process must live', async (t) => {
    const { probe } = make({ process: true })
    t.equal(await probe(never), true)
    table.processes = [processInfo({ pid: 10, startTime: 'other' })]
    await t.rejects(probe(never), { message: 'process 10 is gone' })
  })
  t.test('exec: templates are filled in, and the last line of output says why', async (t) => {
    const { probe } = make({ exec: ['check', 'http://127.0.0.1:{port.http}'] })
    t.equal(await probe(never), true)
    t.same(ran, [[['check', 'http://127.0.0.1:8080'], { cwd: '/srv', env: { A: 'b' }, user: 'svc' }]])
    await t.rejects(probe(never), { message: 'check: exited with code 3: not yet' })
  })
  t.test('grpc: asks at the address of the unit', async (t) => {
    await make({ grpc: '' }).probe(never)
    await make({ grpc: '/a.B/C' }).probe(never)
    await ladderProbe({ check: async (address, what) => address === 'x:1' && what === 'ladder' }, 'x:1')(never)
    t.same(asked, ['127.0.0.1:7 ', '127.0.0.1:7 /a.B/C'])
  })
  t.test('what makes no sense is refused', async (t) => {
    for (const tcp of ['', 'x', 'host:', 'host:0', '70000', '::1:80']) {
      await throwsReason(t, 'CONFIG_INVALID', () => make({ tcp }))
    }
    await throwsReason(t, 'CONFIG_INVALID', () => make({ http: { url: '{x}', method: 'GET', headers: {} } }))
  })
})

t.test('who starts is asked the more often the shorter it has been starting', (t) => {
  const usual = 5_000
  t.same(
    [0, 100, 300, 700, 5_000].map((elapsedMs) => startingInterval(elapsedMs, usual)),
    [20, 20, 30, 70, 100],
  )
  t.equal(startingInterval(5_000, 50), 50, 'and never less often than the probe says')
  t.end()
})

t.test('the pace of questions can follow the time that has passed', async (t) => {
  const clock = new SimClock()
  const askedAt: number[] = []
  const probe = async (): Promise<boolean> => askedAt.push(clock.nowMs() - startedAt) > 4
  const startedAt = clock.nowMs()
  const stop = new AbortController()
  const first = watchHealth(probe, policy, { clock, paceMs: (elapsedMs) => 10 + elapsedMs }, stop.signal).next()
  await clock.advance(1_000)
  t.match(await first, { value: { verdict: 'passing' } })
  t.same(askedAt, [0, 10, 30, 70, 150])
  stop.abort()
})
