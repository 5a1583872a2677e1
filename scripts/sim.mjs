// Runs the simulations with as many random seeds as wanted: npm run sim -- --seeds 1000
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

const { values } = parseArgs({ options: { seeds: { type: 'string' }, sequences: { type: 'string' } } })
const env = {
  ...process.env,
  TAP_TIMEOUT: '7200',
  ...(values.seeds === undefined ? {} : { HSU_SEEDS: values.seeds }),
  ...(values.sequences === undefined ? {} : { HSU_SEQUENCES: values.sequences }),
}

const folder = 'dist/test/sim'
for (const file of readdirSync(folder).filter((name) => name.endsWith('.test.js'))) {
  const { status } = spawnSync(process.execPath, [join(folder, file)], { stdio: 'inherit', env })
  if (status !== 0) process.exitCode = 1
}
