// Measures what docs/PERFORMANCE.md states and prints it as a table: `npm run bench`, or parts of it:
// `npm run bench -- process`. Rows that compare two things measure both in turn in this one run. Nothing leaves the
// loopback interface, save that programs to compare with are installed at first.
import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, loadavg, release, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { asRows, callRowsJson, measureCalls, renderCallRows } from './calls/calls.ts'
import { measureDirect } from './direct.ts'
import { measureLogs } from './logs.ts'
import { measureLan } from './lan.ts'
import { measureAlone, measureMesh } from './nodes.ts'
import { measureRestart } from './restart.ts'
import { type Row, render, renderJson } from './table.ts'
import { measureUpgrade } from './upgrade.ts'
import { measureUsage } from './usage.ts'
import { measureWake } from './wake.ts'

const PARTS = {
  alone: [measureAlone],
  process: [measureRestart, measureUsage],
  logs: [measureLogs],
  mesh: [measureMesh],
  lan: [measureLan],
  calls: [async (home: string) => asRows(await measureCalls(home))],
  direct: [measureDirect],
  upgrade: [measureUpgrade],
  wake: [measureWake],
} as const

type Part = keyof typeof PARTS

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { output: { type: 'string', short: 'o', default: 'text' } },
})
const known = Object.keys(PARTS) as Part[]
const wanted = positionals.length === 0 ? known : known.filter((part) => positionals.includes(part))
const unknown = positionals.filter((part) => !known.includes(part as Part))
if (unknown.length > 0 || !['text', 'json'].includes(values.output)) {
  process.stderr.write(`bench: usage: npm run bench -- [-o json] [${known.join('] [')}]\n`)
  process.exit(2)
}

const home = mkdtempSync(join(tmpdir(), 'hsu-bench-'))
try {
  const loadBefore = loadavg()[0] ?? 0
  const onlyCalls = positionals.length === 1 && wanted[0] === 'calls' ? await measureCalls(home) : undefined
  const rows: Row[] = []
  for (const measure of (onlyCalls === undefined ? wanted : []).flatMap((part) => PARTS[part])) {
    process.stderr.write(`bench: ${measure.name}\n`)
    rows.push(...(await measure(home)))
  }
  const [cpu] = cpus()
  const memory = `${(totalmem() / 2 ** 30).toFixed(0)} GiB`
  const machine = `Node ${process.versions.node}, ${cpus().length} x ${cpu?.model ?? '?'}, ${memory}, Linux ${release()}`
  const said = `${machine}, load before ${loadBefore.toFixed(1)}`
  const json = onlyCalls === undefined ? renderJson(rows) : JSON.stringify(callRowsJson(onlyCalls), undefined, 2)
  const text = onlyCalls === undefined ? render(rows) : renderCallRows(onlyCalls)
  process.stdout.write(values.output === 'json' ? `${json}\n` : `${said}\n\n${text}\n`)
} finally {
  rmSync(home, { recursive: true, force: true })
}
