// Fuzzes the forwarder of calls: `npm run fuzz -- 3600` for so many seconds, 60 unless told, at each of its two ends.
import { spawnSync } from 'node:child_process'

const seconds = process.argv[2] ?? '60'
const { status } = spawnSync(process.execPath, ['scripts/run-test.mjs', 'test/integration/rpc-fuzz.test.ts'], {
  stdio: 'inherit',
  env: { ...process.env, HSU_FUZZ_SECONDS: seconds },
})
process.exitCode = status ?? 1
