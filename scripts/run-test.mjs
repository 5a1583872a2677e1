// Runs test files without a build: bundles each with esbuild and runs it with node. For the inner loop of development.
// Usage: node scripts/run-test.mjs test/unit/base/backoff.test.ts ...   TAP_TIMEOUT: seconds a file may take (600).
import { spawnSync } from 'node:child_process'
import { build } from 'esbuild'

let failed = 0
for (const file of process.argv.slice(2)) {
  const outfile = `.cache/${file.replace(/\.ts$/, '.mjs')}`
  await build({
    entryPoints: [file],
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    packages: 'external',
    sourcemap: 'inline',
    outfile,
  })
  const { status } = spawnSync(process.execPath, ['--enable-source-maps', outfile], {
    stdio: 'inherit',
    env: { TAP_TIMEOUT: '36000', ...process.env },
  })
  if (status !== 0) failed += 1
}
process.exitCode = failed === 0 ? 0 : 1
