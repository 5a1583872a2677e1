// Measures what docs/PERFORMANCE.md states and prints it as a table: `npm run bench`. Rows that compare two things
// measure both in turn in this one run. Nothing leaves the loopback interface.
import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, release, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { measureCalls } from './calls.ts'
import { measureAlone, measureMesh } from './nodes.ts'
import { type Row, render } from './table.ts'
import { measureUsage } from './usage.ts'

const home = mkdtempSync(join(tmpdir(), 'hsu-bench-'))
try {
  const rows: Row[] = []
  for (const measure of [measureAlone, measureUsage, measureMesh, measureCalls]) {
    process.stderr.write(`bench: ${measure.name}\n`)
    rows.push(...(await measure(home)))
  }
  const [cpu] = cpus()
  const memory = `${(totalmem() / 2 ** 30).toFixed(0)} GiB`
  process.stdout.write(
    `Node ${process.versions.node}, ${cpus().length} x ${cpu?.model ?? '?'}, ${memory}, Linux ${release()}\n\n`,
  )
  process.stdout.write(`${render(rows)}\n`)
} finally {
  rmSync(home, { recursive: true, force: true })
}
