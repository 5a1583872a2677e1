// A unit that writes when it is told to: `node flood-program.js DIRECTORY`. For each run N it waits for the order
// `go-N` in the directory, writes what that says to its standard output, and reports in `done-N` what the writing took.
import { existsSync, readFileSync, renameSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { endOfRun, type Order, type Report } from './flood.ts'

const POLL_MS = 5
const CHUNK_BYTES = 64 * 1024
const LINE = `${'an ordinary line of output, as long as they are in the log of a web server, or so '.padEnd(99, '.')}\n`
const CHUNK = Buffer.from(LINE.repeat(CHUNK_BYTES / LINE.length))

const [directory = ''] = process.argv.slice(2)
const sleeper = new Int32Array(new SharedArrayBuffer(4))

for (let run = 1; existsSync(directory); ) {
  const order = join(directory, `go-${run}`)
  if (!existsSync(order)) {
    await pause(POLL_MS)
    continue
  }
  const report = flood(run, JSON.parse(readFileSync(order, 'utf8')) as Order)
  const done = join(directory, `done-${run}`)
  writeFileSync(`${done}.new`, JSON.stringify(report))
  renameSync(`${done}.new`, done)
  run += 1
}

/** Writes as a program does that knows nothing of its reader: each write waits until it is taken. */
function flood(run: number, { bytes, bytesPerMs }: Order): Report {
  const startedAt = performance.now()
  let worstMs = 0
  for (let written = 0; written < bytes; written += CHUNK.length) {
    const aheadMs = written / bytesPerMs - (performance.now() - startedAt)
    if (aheadMs > 1) Atomics.wait(sleeper, 0, 0, aheadMs)
    const begunAt = performance.now()
    writeAll(CHUNK)
    worstMs = Math.max(worstMs, performance.now() - begunAt)
  }
  writeAll(Buffer.from(`${endOfRun(run)}\n`))
  return { ms: performance.now() - startedAt, worstMs }
}

function writeAll(chunk: Buffer): void {
  for (let written = 0; written < chunk.length; ) {
    try {
      written += writeSync(1, chunk, written)
    } catch (error) {
      // A supervisor may have made the pipe one that does not wait.
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
      Atomics.wait(sleeper, 0, 0, 1)
    }
  }
}
