import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { systemHost, type ProcessEvent } from '../../src/process/index.ts'
import { fixture } from '../support/paths.ts'
import { type Supervised, supervise, workspace } from '../support/supervised.ts'
import { unitSpec } from '../support/unit-spec.ts'
import { until } from '../support/until.ts'

const MIB = 1024 ** 2
const { enforces } = await systemHost().kernelLimits()
/** Cores. So little a spinning process gets in each reading, however busy the machine is. */
const LITTLE = 0.02
const QUICK = { backoff: '0ms..1s', jitter: '0%', give_up: '100/1m' } as const

const unless = (resource: Parameters<typeof enforces.has>[0]): false | string =>
  enforces.has(resource) ? false : `the kernel of this machine does not let us limit ${resource}`

type Raw = Parameters<typeof unitSpec>[1]

async function run(t: Test, raw: Raw): Promise<Supervised & { directory: string; pid: number }> {
  const directory = workspace(t)
  const seen = await supervise(t, directory)
  await seen.supervisor.apply([unitSpec('unit', { restart: QUICK, ...raw }, directory)])
  const { pid } = await seen.until('runs', ({ pid }) => pid !== undefined, 'unit')
  return { ...seen, directory, pid: pid as number }
}

const typesOf = ({ events }: { events: readonly ProcessEvent[] }): string[] =>
  events.map(({ type }) => type).filter((type) => type.startsWith('unit.limit'))

async function linesOf(seen: Supervised): Promise<string[]> {
  const query = {
    units: ['unit'],
    follow: false,
    tail: undefined,
    sinceMs: undefined,
    stream: undefined,
    grep: undefined,
  }
  const lines: string[] = []
  for await (const { line } of seen.supervisor.logs(query, new AbortController().signal))
    lines.push(Buffer.from(line).toString())
  return lines
}

/** Time of processors a process has had, in seconds. */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ')
  return (Number(fields[11]) + Number(fields[12])) / Number(execFileSync('getconf', ['CLK_TCK']))
}

t.test('A14: the kernel keeps a spinning unit at its share of a core', { skip: unless('cpu') }, async (t) => {
  const seen = await run(t, { run: [process.execPath, fixture('spin-cpu.mjs')], limits: { cpu: 0.5 } })
  // What a busy machine leaves it may be less; more it cannot be. So long a time evens the periods out.
  const [startedAt, before] = [process.hrtime.bigint(), cpuSeconds(seen.pid)]
  await until('it has had a second of processor time', () => cpuSeconds(seen.pid) - before >= 1, 60_000)
  const share = (cpuSeconds(seen.pid) - before) / (Number(process.hrtime.bigint() - startedAt) / 1e9)
  t.ok(share <= 0.6, `${share.toFixed(2)} of a core`)
  t.match(seen.status('unit').limits, [{ resource: 'cpu', mode: 'enforced' }])
})

t.test('A14: a soft limit triggers its policy only after the sustained time', async (t) => {
  const limits = { cpu: LITTLE, spike: '1s', sustained: '4s', on_exceed: 'restart' } as const
  const seen = await run(t, { run: [process.execPath, fixture('spin-cpu.mjs')], limits })
  const exceeded = await until('exceeded', () => seen.events.find(({ type }) => type === 'unit.limit_exceeded'), 60_000)
  t.equal(seen.status('unit').pid, seen.pid, 'not yet')
  const stopping = await until('stopping', () => seen.events.find(({ type }) => type === 'unit.stopping'), 60_000)
  t.ok(stopping.wallMs - exceeded.wallMs >= 2_000, 'the rest of the sustained time, but for a reading')
  t.equal(stopping.causedBy, exceeded.id)
  t.match(stopping.reason, /^cpu limit of 0.02 cores exceeded \(resource_limit\): uses/)
})

t.test('A14: a spike within the tolerance triggers nothing', async (t) => {
  const limits = { cpu: LITTLE, spike: '20s', sustained: '30s', on_exceed: 'restart' } as const
  const seen = await run(t, { run: [process.execPath, fixture('spin-cpu.mjs'), '2000'], limits })
  const used: number[] = []
  await until(
    'the spike is seen and over',
    () => {
      used.push(seen.status('unit').limits[0]?.used ?? 0)
      return used.some((cores) => cores > LITTLE) && (used.at(-1) ?? 1) < LITTLE
    },
    60_000,
  )
  t.same(typesOf(seen), [])
  t.equal(seen.status('unit').pid, seen.pid)
})

t.test('A14: a unit may open as many files as its limit says', async (t) => {
  const seen = await run(t, { run: [process.execPath, fixture('open-files.mjs')], limits: { files: 100 } })
  const [line] = await until('it is told', async () => {
    const lines = await linesOf(seen)
    return lines.length > 0 && lines
  })
  const [, count] = /^EMFILE after (\d+)$/.exec(line ?? '') ?? []
  t.ok(Number(count) > 50 && Number(count) < 100, `${line}`)
  t.match(seen.status('unit').limits, [{ resource: 'files', mode: 'enforced', by: 'rlimit nofile' }])
})

t.test(
  'A14: the number of open files is limited for another user too',
  { skip: process.getuid?.() !== 0 && 'needs root' },
  async (t) => {
    const seen = await run(t, {
      run: ['sh', '-c', 'id -u; ulimit -n; sleep 60'],
      cwd: '/',
      user: 'nobody',
      limits: { files: 77, pids: 9 },
    })
    const lines = await until('it says', async () => {
      const lines = await linesOf(seen)
      return lines.length === 2 && lines
    })
    t.not(lines[0], '0')
    t.equal(lines[1], '77')
    if (enforces.has('pids')) t.match(readFileSync(`/proc/${seen.pid}/cgroup`, 'utf8'), /hsu-/)
  },
)

t.test('A14: the kernel refuses a unit more processes than it may have', { skip: unless('pids') }, async (t) => {
  const limits = { pids: 8, spike: '0s' } as const
  const seen = await run(t, { run: [fixture('fork-many.sh'), '20'], limits, restart: { policy: 'no' } })
  // The two streams are read one after the other, so what was written before the refusal may be shown after it.
  const started = async (): Promise<number> => (await linesOf(seen)).filter((line) => line.startsWith('started')).length
  const refused = async (): Promise<boolean> => (await linesOf(seen)).some((line) => /fork|Resource/.test(line))
  await until('it has as many as it may, the program itself one of them', async () => (await started()) >= 7)
  await until('it is refused another', refused)
  t.equal(await started(), 7)
})

t.test(
  'A14: too many processes have the consequence asked for, though the kernel holds them',
  { skip: unless('pids') },
  async (t) => {
    const limits = { pids: 8, spike: '0s', sustained: '0s', on_exceed: 'kill' } as const
    // It tries again for as long as it lives, so the limit stays reached.
    const seen = await run(t, {
      run: ['sh', '-c', `trap "" TERM; for i in 1 2 3 4 5 6 7; do sleep 60 & done; wait`],
      limits,
    })
    const exited = await until('killed', () => seen.events.find(({ type }) => type === 'unit.exited'), 60_000)
    t.match(exited, {
      details: { signal: 'SIGKILL', kind: 'resource_limit' },
      cause: /^pids limit of 8 processes exceeded/,
    })
  },
)

t.test('A14: the kernel keeps the reading of a unit from disk at its limit', { skip: unless('io.read') }, async (t) => {
  const directory = workspace(t)
  const file = join(directory, 'big')
  writeFileSync(file, Buffer.alloc(8 * MIB, 1))
  execFileSync('sync', [file])
  if (!isOnDisk(file)) return void t.pass('the temporary directory of this machine is not on a disk')
  const seen = await supervise(t, directory)
  const timed = 'dd if="$1" of=/dev/null bs=256k iflag=direct 2>/dev/null; touch "$2"'
  const done = join(directory, 'done')
  const began = Date.now()
  const raw: Raw = {
    run: ['sh', '-c', timed, 'dd', file, done],
    limits: { io: { read: '2MiB' } },
    restart: { policy: 'no' },
  }
  await seen.supervisor.apply([unitSpec('unit', raw, directory)])
  await until('all is read', () => existsSync(done), 60_000)
  const rate = (8 * MIB) / ((statSync(done).mtimeMs - began) / 1_000)
  t.ok(rate <= 2 * MIB * 1.2, `${(rate / MIB).toFixed(2)} MiB/s`)
  return undefined
})

t.test('A14: what this host can neither enforce nor measure is warned of, once, and shown', async (t) => {
  const host = systemHost()
  const bare = {
    ...host,
    kernelLimits: async () => ({ enforces: new Map(), slowsMemory: false }),
    table: withoutDetails(host.table),
  }
  const directory = workspace(t)
  const seen = await supervise(t, directory, { host: bare })
  const spec = unitSpec('unit', { run: ['sleep', '60'], limits: { memory: '1GiB', io: { write: '1MiB' } } }, directory)
  await seen.supervisor.apply([spec])
  await seen.until('watched', ({ limits }) => limits.length === 2, 'unit')
  t.match(seen.status('unit').limits, [
    { resource: 'memory', mode: 'watched' },
    { resource: 'io.write', mode: 'unsupported', by: 'this host can neither enforce nor measure it' },
  ])
  const warned = seen.log.entries.filter(({ level, message }) => level === 'warn' && message.startsWith('limit'))
  t.same(
    warned.map(({ message }) => message),
    ['limit cannot be enforced on this host, only watched', 'limit has no effect on this host'],
  )
})

function withoutDetails(table: ReturnType<typeof systemHost>['table']) {
  const bare = { ...table }
  delete bare.details
  return bare
}

function isOnDisk(file: string): boolean {
  const { dev } = statSync(file)
  // A device number below 256 in its major part and not 0 is one of a disk; 0 stands for none.
  return ((dev >> 8) & 0xfff) !== 0
}
