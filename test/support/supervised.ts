import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { fileStore } from '../../src/base/file-store.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { systemRandom } from '../../src/base/system-random.ts'
import {
  createSupervisor,
  type InstanceStatus,
  type ProcessEvent,
  type Supervisor,
  type SupervisorSeams,
  systemHost,
} from '../../src/process/index.ts'
import { removeCells } from './cells.ts'
import { type MemoryLog, memoryLog } from './memory-log.ts'
import { until } from './until.ts'

/** A supervisor over the real operating system, with directories of its own. */
export interface Supervised {
  readonly supervisor: Supervisor
  readonly events: readonly ProcessEvent[]
  readonly log: MemoryLog
  readonly status: (unit: string, replica?: number) => InstanceStatus
  readonly until: (
    what: string,
    predicate: (status: InstanceStatus) => boolean,
    unit: string,
  ) => Promise<InstanceStatus>
}

/** Directories that several supervisors use one after the other; after the test, nothing that ran there may live. */
export function workspace(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'hsu process '))
  t.teardown(async () => {
    for (const pid of processesIn(directory)) process.kill(pid, 'SIGKILL')
    await removeCells(directory)
    rmSync(directory, { recursive: true, force: true })
  })
  return directory
}

export async function supervise(
  t: Test,
  directory: string,
  changed: Partial<SupervisorSeams> = {},
): Promise<Supervised> {
  const log = memoryLog()
  const supervisor = createSupervisor(
    {
      clock: systemClock,
      random: systemRandom,
      log,
      store: fileStore(join(directory, 'data')),
      host: systemHost(),
      grpc: { check: async () => true },
      environmentOf: () => ({}),
      drain: async () => undefined,
      ...changed,
    },
    { runDir: join(directory, 'run'), logDir: join(directory, 'log') },
  )
  const events: ProcessEvent[] = []
  supervisor.events.subscribe((event) => events.push(event))
  await supervisor.start()
  t.teardown(() => supervisor.stop())
  const status = (unit: string, replica = 0): InstanceStatus => {
    const found = supervisor.status().find((each) => each.unit === unit && each.replica === replica)
    if (found === undefined) throw new Error(`no unit '${unit}'`)
    return found
  }
  return {
    supervisor,
    events,
    log,
    status,
    until: async (what, predicate, unit) => {
      await until(`${unit}: ${what}`, () => predicate(status(unit)))
      return status(unit)
    },
  }
}

/** Linux: the processes whose environment names `marker`, such as the directory of a test. */
export function processesIn(marker: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((pid) => ['environ', 'cmdline'].some((file) => textOf(`/proc/${pid}/${file}`).includes(marker)))
    .map(Number)
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
