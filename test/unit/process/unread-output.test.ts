import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { readSlotRecords } from '../../../src/process/slot-record.ts'
import { createSupervisor, type Supervisor, type UnitSpec } from '../../../src/process/index.ts'
import { memoryLog } from '../../support/memory-log.ts'
import { seeded } from '../../../src/sim/seeded.ts'
import { SimClock } from '../../../src/sim/sim-clock.ts'
import { SimHost } from '../../../src/sim/sim-host.ts'
import { simStore } from '../../../src/sim/sim-store.ts'
import { unitSpec } from '../../support/unit-spec.ts'
import { until } from '../../support/until.ts'

const never = new AbortController().signal
const run = ['/bin/program']

/** One machine and its disks, with one supervisor after the other. */
class Machine {
  readonly clock = new SimClock()
  readonly host = new SimHost()
  readonly disk = new Map<string, Uint8Array>()
  readonly #home: string
  /** Another for each supervisor: the names of instances come from chance. */
  #seed = 0
  readonly #t: Test

  constructor(t: Test) {
    this.#t = t
    this.#home = t.testdir({})
  }

  async supervise(specs: readonly UnitSpec[]): Promise<Supervisor> {
    const { clock, host } = this
    const supervisor = createSupervisor(
      {
        clock,
        host,
        log: memoryLog(),
        random: seeded((this.#seed += 1)),
        store: simStore(this.disk),
        grpc: { check: async () => true },
        environmentOf: () => ({}),
        drain: async () => undefined,
      },
      { runDir: join(this.#home, 'run'), logDir: join(this.#home, 'log') },
    )
    await supervisor.start()
    await supervisor.apply(specs)
    await clock.advance(0)
    this.#t.teardown(async () => {
      await supervisor.abandon()
    })
    return supervisor
  }

  /** The node is killed; before it read them, its unit had written these lines. */
  async killed(supervisor: Supervisor, unread: string): Promise<void> {
    await supervisor.abandon()
    const [record] = await readSlotRecords(simStore(this.disk), memoryLog())
    if (record === undefined) throw new Error('nothing was written down')
    const directory = join(this.#home, 'run', record.unit, '0', record.instance)
    mkdirSync(directory, { recursive: true })
    writeFileSync(join(directory, 'stdout'), unread)
  }

  crash(code: number): Promise<void> {
    this.host.exit(this.host.pidsOf('api')[0] as number, { code })
    return this.clock.advance(0)
  }
}

async function linesOf(supervisor: Supervisor): Promise<string[]> {
  const query = { units: [], follow: false, tail: undefined, sinceMs: undefined, stream: undefined, grep: undefined }
  const lines: string[] = []
  for await (const { line } of supervisor.logs(query, never)) lines.push(Buffer.from(line).toString())
  return lines
}

t.test('what a unit wrote just before its end is read by the next node, once, whatever the end was', async (t) => {
  const ends: Readonly<Record<string, (machine: Machine, supervisor: Supervisor) => Promise<void>>> = {
    'a job that is completed': (machine) => machine.crash(0),
    'a crash, waiting for its restart': (machine) => machine.crash(1),
    'a stop asked for': async (machine, supervisor) => {
      const stopped = supervisor.stopUnit('api', never)
      await machine.clock.advance(100)
      await stopped
    },
    'a stop of the node': async (machine, supervisor) => {
      const stopped = supervisor.stop()
      await machine.clock.advance(100)
      await stopped
    },
    'a new start of the host': async (machine, supervisor) => {
      await supervisor.abandon()
      machine.host.reboot()
    },
    'an end that no node saw': async (machine, supervisor) => {
      await supervisor.abandon()
      await machine.crash(0)
    },
  }
  for (const [what, end] of Object.entries(ends)) {
    await t.test(what, async (t) => {
      const machine = new Machine(t)
      const specs = [unitSpec('api', { run, restart: { backoff: '1h..1h', jitter: '0%' } })]
      const first = await machine.supervise(specs)
      await end(machine, first)
      await machine.killed(first, 'one\ntwo\nunfinished')
      const second = await machine.supervise(specs)
      await until('all is read', async () => (await linesOf(second)).length >= 3)
      t.same(await linesOf(second), ['one', 'two', 'unfinished'])

      // The simulated host leaves the files where they are: the log alone knows that they were read.
      await second.abandon()
      const third = await machine.supervise(specs)
      await third.abandon()
      t.same(await linesOf(third), ['one', 'two', 'unfinished'])

      const without = await machine.supervise([])
      t.same(await linesOf(without), ['one', 'two', 'unfinished'])
    })
  }
})

t.test('what it wrote is read when the unit is not configured any more, too', async (t) => {
  const machine = new Machine(t)
  const first = await machine.supervise([unitSpec('api', { run })])
  const stopped = first.stop()
  await machine.clock.advance(100)
  await stopped
  await machine.killed(first, 'one\n')
  const second = await machine.supervise([])
  t.same(await linesOf(second), ['one'])
})
