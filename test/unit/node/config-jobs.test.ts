import t from 'tap'
import { faultsOf, load } from '../../support/config.ts'

const unit = (text: string): string => `version: 1\nunits:\n  api:\n    run: ./api\n${text.replace(/^/gm, '    ')}`

t.test('faults in the terms of a job are named with their place', async (t) => {
  const cases: readonly (readonly [text: string, ...faults: RegExp[]])[] = [
    ['schedule: "61 2 * * *"', /^hsu.yaml:5:15: units.api.schedule: '61 2 \* \* \*' is not a cron expression: ./],
    ['schedule: { cron: "0 2 * *" }', /^hsu.yaml:5:23: units.api.schedule.cron: .* write five fields: minute, hour/],
    ['schedule: "0 0 30 2 *"', /^hsu.yaml:5:15: units.api.schedule: .*names a day that never comes/],
    ['schedule: hourly', /^hsu.yaml:5:15: units.api.schedule: .*write five fields/],
    [
      'schedule: { cron: "@daily", timezone: Mars/One }',
      /^hsu.yaml:5:43: units.api.schedule.timezone: .*Europe\/Vienna/,
    ],
    ['schedule: { cron: "@daily", missed: twice }', /^hsu.yaml:5:41: units.api.schedule.missed: must be skip or once/],
    ['schedule: { cron: "@daily", scope: all }', /^hsu.yaml:5:40: units.api.schedule.scope: must be node or mesh/],
    ['schedule: { timezone: UTC }', /^hsu.yaml:5:5: units.api.schedule.cron: is required/],
    ['schedule: { corn: "@daily", cron: "@daily" }', /units.api.schedule.corn: unknown key/],
    ['job: { retries: -1 }', /^hsu.yaml:5:21: units.api.job.retries: must be at least 0/],
    ['job: { deadline: soon }', /^hsu.yaml:5:22: units.api.job.deadline: 'soon' is not a duration/],
    ['job: { concurrency: queue }', /units.api.job.concurrency: must be one of allow, forbid, replace/],
    ['job: {}\nreplicas: 2', /^hsu.yaml:6:5: units.api.replicas: has no meaning for a job: .*job.concurrency/],
    ['job: {}\nactivation: manual', /^hsu.yaml:6:5: units.api.activation: has no meaning for a job/],
    ['schedule: "@daily"\nwatch: [a]', /^hsu.yaml:6:5: units.api.watch: has no meaning for a job/],
  ]
  for (const [text, ...expected] of cases) {
    const faults = await faultsOf(unit(text))
    t.equal(faults.length, expected.length, `${text}: ${faults.join('\n')}`)
    for (const [index, fault] of expected.entries()) t.match(faults[index], fault)
  }
})

t.test('a schedule is a text, or a map with more terms', async (t) => {
  const scheduleOf = async (text: string) => (await load(unit(text))).config.units['api']?.schedule
  const short = { cron: '0 2 * * *', missed: 'skip', scope: 'node', jitter: 0 }
  t.strictSame({ ...(await scheduleOf('schedule: "0 2 * * *"')) }, short)
  t.match(
    await scheduleOf('schedule: { cron: "@daily", timezone: Europe/Vienna, missed: once, scope: mesh, jitter: 30s }'),
    { cron: '@daily', timezone: 'Europe/Vienna', missed: 'once', scope: 'mesh', jitter: 30_000 },
  )
})
