// Simulates meshes of growing size and prints what docs/SCALE.md states: node scripts/scale.mjs [NODES...]
import { spawnSync } from 'node:child_process'
import { build } from 'esbuild'

const outfile = '.cache/bench/scale.mjs'
await build({
  entryPoints: ['bench/scale.ts'],
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  packages: 'external',
  outfile,
})
process.exitCode =
  spawnSync(process.execPath, ['--expose-gc', '--max-old-space-size=3000', outfile, ...process.argv.slice(2)], {
    stdio: 'inherit',
  }).status ?? 1
