import { execFileSync, spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { get } from 'node:http'
import { createServer } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import type { SeriesShape, TopShape, UnitUsageShape, UsageShape } from '../../src/cli/usage-shapes.ts'
import { aloneConfig, LISTEN, meshConfig, SLEEPER } from '../support/node-configs.ts'
import { repoRoot } from '../support/paths.ts'
import { nodeHome, type SpawnedNode } from '../support/spawned-node.ts'
import { until } from '../support/until.ts'

// A15: what units use is measured as the system measures it, kept for an hour, shown live and to Prometheus.

const onLinux = process.platform === 'linux' ? {} : { skip: 'reads /proc' }
const HOLD = join(repoRoot, 'test/fixtures/hold-resources.mjs')
const [MEBIBYTES, FILES, THREADS] = [160, 60, 4]

/** Holds memory, files and threads, in a child of a shell, so that the tree is more than one process. */
function holder(directory: string, name: string, ...more: string[]): object {
  const command = [process.execPath, HOLD, String(MEBIBYTES), String(FILES), String(THREADS), `${directory}/${name}`]
  return { run: ['sh', '-c', '"$@" & wait', 'sh', ...command, ...more] }
}

/** What /proc says of all these processes together. */
function procUsage(pids: readonly number[]): Omit<UsageShape, 'cpu'> {
  const read = (pid: number, file: string): string => readFileSync(`/proc/${pid}/${file}`, 'utf8')
  const sum = (figure: (pid: number) => number): number => pids.reduce((total, pid) => total + figure(pid), 0)
  const kib = (pid: number, file: string, key: string): number =>
    Number(new RegExp(`^${key}:\\s+(\\d+) kB$`, 'm').exec(read(pid, file))?.[1]) * 1_024
  const io = (pid: number, key: string): number =>
    Number(new RegExp(`^${key}: (\\d+)$`, 'm').exec(read(pid, 'io'))?.[1])
  return {
    cpuSeconds: sum(cpuSecondsOf),
    rssBytes: sum((pid) => kib(pid, 'status', 'VmRSS')),
    pssBytes: sum((pid) => kib(pid, 'smaps_rollup', 'Pss')),
    virtualBytes: sum((pid) => kib(pid, 'status', 'VmSize')),
    processes: pids.length,
    threads: sum((pid) => readdirSync(`/proc/${pid}/task`).length),
    files: sum((pid) => readdirSync(`/proc/${pid}/fd`).length),
    ioReadBytes: sum((pid) => io(pid, 'read_bytes')),
    ioWriteBytes: sum((pid) => io(pid, 'write_bytes')),
  }
}

function cpuSecondsOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ')
    .map(Number)
  const [user = 0, system = 0] = [fields[11], fields[12]]
  return (user + system) / Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }))
}

/** The session of a unit's program: the shell that keeps its exit status, and all below it. */
function treeOf(pid: number): number[] {
  const sessionOf = (of: number): number =>
    Number(
      readFileSync(`/proc/${of}/stat`, 'utf8')
        .replace(/^.*\) /s, '')
        .split(' ')[3],
    )
  const session = sessionOf(pid)
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((other) => {
      try {
        return sessionOf(other) === session
      } catch {
        return false // it ended in the meantime
      }
    })
}

async function unitOf(node: SpawnedNode, name: string): Promise<UnitUsageShape> {
  const unit = (await topOf(node)).units.find((each) => each.unit === name)
  if (unit === undefined) throw new Error(`top does not show ${name}`)
  return unit
}

async function topOf(node: SpawnedNode): Promise<TopShape> {
  const { code, stdout, stderr } = await node.hsu('top', '--once', '-o', 'json')
  if (code !== 0) throw new Error(stderr)
  return JSON.parse(stdout) as TopShape
}

/** True when they differ by 5 % at most; io may be counted by pages. */
function agree(one: number | null, other: number | null): boolean {
  return one !== null && other !== null && Math.abs(one - other) <= Math.max(one, other) * 0.05
}

async function ask(url: string, method = 'GET'): Promise<{ status: number; body: string; type: string }> {
  return new Promise((resolve, reject) => {
    const request = get(url, { method, agent: false }, (response) => {
      let body = ''
      response.setEncoding('utf8')
      response.on('data', (part: string) => (body += part))
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, body, type: response.headers['content-type'] ?? '' }),
      )
    })
    request.on('error', reject)
  })
}

async function adminOf(node: SpawnedNode): Promise<string> {
  const checks = await node.json<{ name: string; message: string }>('doctor')
  const { message = '' } = checks.find(({ name }) => name === 'node: admin') ?? {}
  return `http://${/^listens on ([\d.]+:\d+)/.exec(message)?.[1] ?? ''}`
}

t.test('what two nodes and their units use', { timeout: 120_000, ...onLinux }, async (t) => {
  const { home, node } = nodeHome(t)
  const keyFile = join(home, 'mesh.key')
  const config = { units: { holder: holder(home, 'held'), spinner: holder(home, 'spun', '--spin') } }
  const first = node('edge-a', { config: meshConfig('edge-a', keyFile, config.units) })
  const second = node('edge-b', { config: meshConfig('edge-b', keyFile, { sleeper: SLEEPER }) })
  t.equal((await first.hsu('mesh', 'create', '--out', keyFile)).code, 0)
  await Promise.all([first.start(), second.start()])
  await until('the nodes to meet', async () => (await topOf(first)).nodes.length === 2)
  const admin = await adminOf(first)

  t.test('the figures agree with /proc', async (t) => {
    const { pid } = await until('all of it to be held', async () => {
      const unit = await unitOf(first, 'holder')
      const { usage } = unit
      return (
        usage !== null &&
        (usage.files ?? 0) > FILES &&
        existsSync(join(home, 'held')) &&
        usage.pssBytes !== null &&
        unit
      )
    })
    let [seen, truth]: [UsageShape | null, Omit<UsageShape, 'cpu'>] = [null, procUsage(treeOf(pid ?? 0))]
    const figures = [
      'rssBytes',
      'virtualBytes',
      'threads',
      'files',
      'ioReadBytes',
      'ioWriteBytes',
      'processes',
    ] as const
    await until('the figures to agree', async () => {
      seen = (await unitOf(first, 'holder')).usage
      truth = procUsage(treeOf(pid ?? 0))
      return figures.every((figure) => agree(seen?.[figure] ?? null, truth[figure]))
    }).catch(() => t.match(seen, truth, 'they agree'))
    t.ok(truth.rssBytes > MEBIBYTES * 2 ** 20 && (truth.threads ?? 0) > THREADS, 'the fixture holds what it should')
    t.equal(truth.processes, 3, 'keeper of the exit status, shell, program')
  })

  t.test('the share of memory is read, if less often', async (t) => {
    const { pid } = await unitOf(first, 'holder')
    // Read first while the program was still growing, it is read again after a minute; the peer of this test does not wait.
    const { pssBytes = null, rssBytes = 0 } = (await unitOf(first, 'holder')).usage ?? {}
    t.ok(pssBytes !== null && pssBytes > 0 && pssBytes <= rssBytes * 1.05, `${pssBytes} of ${rssBytes}`)
    t.ok(procUsage(treeOf(pid ?? 0)).pssBytes)
  })

  t.test('processor time agrees with /proc, and the rate is that of a spinning program', async (t) => {
    const tree = treeOf((await unitOf(first, 'spinner')).pid ?? 0)
    const before = procUsage(tree).cpuSeconds
    const usage = await until('a reading after that', async () => {
      const { usage } = await unitOf(first, 'spinner')
      return usage !== null && usage.cpuSeconds >= before && usage.cpu > 0 && usage
    })
    const after = procUsage(tree).cpuSeconds
    t.ok(usage.cpuSeconds <= after * 1.05, `${before} <= ${usage.cpuSeconds} <= ${after} s`)
    t.ok(usage.cpu <= 1.2, `${usage.cpu} cores`)
    t.ok(usage.cpu > ((await unitOf(first, 'holder')).usage?.cpu ?? 1), 'the idle one uses less')
  })

  t.test('top shows the whole mesh, from either node', async (t) => {
    for (const from of [first, second]) {
      const top = await topOf(from)
      t.same(top.nodes.map(({ node }) => node).sort(), ['edge-a', 'edge-b'])
      t.ok(top.nodes.every(({ usage }) => (usage?.rssBytes ?? 0) > 10e6))
      t.same(top.units.map(({ unit, node }) => `${unit}@${node}`).sort(), [
        'holder@edge-a',
        'sleeper@edge-b',
        'spinner@edge-a',
      ])
    }
    const { stdout } = await second.hsu('top', '-n', '2', '-d', '200ms')
    t.equal(stdout.match(/^spinner\/0 +edge-a +(up|starting)/gm)?.length, 2)
    t.notMatch(stdout, /\u001B/, 'no terminal, no sequences for one')
  })

  t.test('the history is kept and comes from the node that has it', async (t) => {
    const series = await until('two samples', async () => {
      const [one] = await second.json<SeriesShape>('metrics', 'holder', '--since', '1h')
      return one !== undefined && one.samples.length >= 2 && one
    })
    t.match(series, { unit: 'holder', replica: 0, node: 'edge-a' })
    const last = series.samples.at(-1)
    t.ok((last?.rssBytes ?? 0) > MEBIBYTES * 2 ** 20 && (last?.files ?? 0) > FILES)
    t.same(
      series.samples.map(({ time }) => time),
      series.samples.map(({ time }) => time).sort(),
      'oldest first',
    )
    const [none] = await first.json<SeriesShape>('metrics', 'holder', '--since', '2100-01-01T00:00:00Z')
    t.same(none?.samples, [])
    t.match(await first.hsu('metrics', 'nobody'), { code: 4, stderr: /no unit 'nobody'|no node runs/ })
  })

  t.test('describe shows it', async (t) => {
    t.match((await first.hsu('describe', 'holder')).stdout, /usage\n +REPLICA +NODE +CPU% +RSS[^]*edge-a/)
  })

  t.test('Prometheus can read it', async (t) => {
    const { status, body, type } = await ask(`${admin}/metrics`)
    t.equal(status, 200)
    t.match(type, /^text\/plain; version=0\.0\.4/)
    const value = (line: RegExp): number => Number(line.exec(body)?.[1])
    t.ok(value(/^hsu_process_resident_memory_bytes\{unit="holder",replica="0"\} (\d+)$/m) > MEBIBYTES * 2 ** 20)
    t.ok(value(/^hsu_process_cpu_seconds_total\{unit="spinner",replica="0"\} ([\d.]+)$/m) > 0)
    t.ok(value(/^hsu_node_resident_memory_bytes (\d+)$/m) > 10e6)
    t.match(body, /^# TYPE hsu_process_cpu_seconds_total counter$/m)
    t.match(body, /^hsu_node_info\{node="edge-a",version="[^"]+",mesh="test"\} 1$/m)
    t.notMatch(body, /NaN/)
    for (const line of body.split('\n').filter((line) => line !== '' && !line.startsWith('#'))) {
      t.match(line, /^hsu_(process|node)_[a-z0-9_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? -?[\d.e+-]+$/)
    }
  })

  t.test('a monitor can ask whether the node is well', async (t) => {
    const { status, body, type } = await ask(`${admin}/healthz`)
    t.equal(status, 200)
    t.match(type, /json/)
    t.match(JSON.parse(body), { status: 'ok', node: 'edge-a' })
    t.match(await ask(`${admin}/healthz`, 'HEAD'), { status: 200, body: '' })
    t.equal((await ask(`${admin}/metrics`, 'POST')).status, 405)
    t.equal((await ask(`${admin}/`)).status, 404)
    t.equal((await ask(`${admin}/__proto__`)).status, 404)
  })
})

t.test('the door of monitoring', { timeout: 60_000 }, async (t) => {
  t.test('is another one when its port is busy, and doctor says so', async (t) => {
    const { node } = nodeHome(t)
    const squatter = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => squatter.once('listening', resolve))
    t.teardown(() => squatter.close())
    const { port } = squatter.address() as { port: number }
    const alone = node('busy', {
      config: aloneConfig('busy', {}, { listen: { ...LISTEN, admin: `127.0.0.1:${port}` } }),
    })
    await alone.start()
    const admin = (await alone.json<{ name: string; result: string; message: string }>('doctor')).find(
      ({ name }) => name === 'node: admin',
    )
    t.match(admin, { result: 'warning', message: /was busy/ })
    t.equal((await ask(`http://${/127\.0\.0\.1:\d+/.exec(admin?.message ?? '')?.[0] ?? ''}/healthz`)).status, 200)
  })

  t.test('is none when it is off', async (t) => {
    const { node } = nodeHome(t)
    const alone = node('off', { config: aloneConfig('off', {}, { listen: { ...LISTEN, admin: 'off' } }) })
    await alone.start()
    const checks = await alone.json<{ name: string }>('doctor')
    t.notOk(checks.some(({ name }) => name === 'node: admin'))
  })
})

const hasScript = existsSync('/usr/bin/script')

t.test(
  'on a terminal, top is live, and gives it back as it was',
  { timeout: 60_000, ...(hasScript ? onLinux : { skip: 'needs script(1) of util-linux for a terminal' }) },
  async (t) => {
    const { node } = nodeHome(t)
    const alone = node('tty', { config: aloneConfig('tty', { sleeper: SLEEPER }) })
    await alone.start()
    const hsu = `env -u NODE_OPTIONS HSU_DATA_DIR='${alone.directory}' TERM=xterm ${join(repoRoot, 'bin/hsu')}`
    for (const key of ['q', '\u0003']) {
      const command = `stty rows 20 cols 100; ${hsu} top; echo "code $?"; stty -a`
      const screen = spawn('script', ['-qec', command, '/dev/null'], { stdio: ['pipe', 'pipe', 'inherit'] })
      t.teardown(() => screen.kill('SIGKILL'))
      let shown = ''
      screen.stdout.setEncoding('utf8').on('data', (text: string) => (shown += text))
      await until('two pictures', () => shown.split('\u001B[H').length >= 3)
      t.match(shown, /\u001B\[\?1049h/)
      t.match(shown, /sleeper\/0/)
      t.ok(shown.split('\u001B[H')[1]?.split('\r\n').length === 20, 'as many lines as the screen has')
      screen.stdin.write(key)
      await until('the shell to go on', () => /code \d+[^]*icanon/.test(shown))
      t.match(shown, /\u001B\[\?1049l[^]*code 0/)
      t.match(shown, / icanon/, 'typing is by lines again')
      t.match(shown, / echo /)
    }
  },
)
