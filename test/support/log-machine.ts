import { appendFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { NewEvent } from '../../src/process/causes.ts'
import type { CaptureSource } from '../../src/process/logs/capture.ts'
import { KEEP_EVERYTHING } from '../../src/process/logs/keeping.ts'
import type { ParseMode } from '../../src/process/logs/parse.ts'
import type { LogLine, LogQuery } from '../../src/process/logs/query.ts'
import { createOutput, type Output } from '../../src/process/output.ts'
import { type MemoryLog, memoryLog } from './memory-log.ts'
import { SimClock } from '../../src/sim/sim-clock.ts'

export const ALL_LINES: LogQuery = {
  units: [],
  follow: false,
  tail: undefined,
  sinceMs: undefined,
  stream: undefined,
  grep: undefined,
}

/** The output of units on a disk of its own, in simulated time. */
export class LogMachine {
  readonly clock = new SimClock()
  readonly log: MemoryLog = memoryLog()
  /** The events that were told. */
  readonly told: NewEvent[] = []
  readonly output: Output
  readonly directory: string

  constructor(t: Test, parse: ParseMode = 'auto') {
    this.directory = mkdtempSync(join(tmpdir(), 'hsu-logs-'))
    const run = async () => ({ exit: { code: 1 }, stdout: '' })
    const { clock, log } = this
    const tell = (event: NewEvent): void => void this.told.push(event)
    this.output = createOutput({ clock, log, run, tell }, { logDir: join(this.directory, 'log'), parseOf: () => parse })
    t.teardown(async () => {
      await this.output.close()
      rmSync(this.directory, { recursive: true, force: true })
    })
  }

  get logDir(): string {
    return join(this.directory, 'log', 'api')
  }

  source(changed: Partial<CaptureSource> = {}): CaptureSource {
    const { unit = 'api', replica = 0 } = changed
    const instance = changed.instance ?? `${unit}-${replica}-aa`
    const raw = join(this.directory, 'run', instance)
    mkdirSync(raw, { recursive: true })
    const paths = { stdoutPath: join(raw, 'stdout'), stderrPath: join(raw, 'stderr') }
    return { unit, replica, instance, pid: 7, ...paths, ...KEEP_EVERYTHING, ...changed }
  }

  /** The unit writes; what it wrote is taken to its end. */
  async write(source: CaptureSource, text: string | Buffer): Promise<void> {
    appendFileSync(source.stdoutPath, text)
    await this.output.capture(source).finish()
  }

  async lines(query: Partial<LogQuery> = {}): Promise<LogLine[]> {
    const lines: LogLine[] = []
    for await (const each of this.output.query({ ...ALL_LINES, ...query }, new AbortController().signal)) {
      lines.push(each)
    }
    return lines
  }

  async texts(query: Partial<LogQuery> = {}): Promise<string[]> {
    return (await this.lines(query)).map(({ line }) => Buffer.from(line).toString())
  }
}
