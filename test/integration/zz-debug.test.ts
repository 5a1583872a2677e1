import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { fixture } from '../support/paths.ts'
import { supervise, workspace } from '../support/supervised.ts'
import { unitSpec } from '../support/unit-spec.ts'
import { setTimeout as pause } from 'node:timers/promises'
t.test('x', async (t) => {
  const directory = workspace(t)
  const stays = join(directory, 'stays.code')
  const specs = [unitSpec('stays', { run: [fixture('exit-when.sh'), stays], ports: { http: 'auto' } })]
  const first = await supervise(t, directory)
  await first.supervisor.apply(specs)
  await first.until('ready', ({ ready }) => ready, 'stays')
  await first.supervisor.abandon()
  const second = await supervise(t, directory)
  await second.supervisor.apply(specs)
  await second.until('ready', ({ ready }) => ready, 'stays')
  writeFileSync(stays, '4')
  for (let i = 0; i < 10; i++) { await pause(300); console.log(JSON.stringify(second.status('stays'))) }
  console.log(second.events, JSON.stringify(second.log.entries))
})
