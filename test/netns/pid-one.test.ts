import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { aloneConfig, SLEEPER } from '../support/node-configs.ts'
import { repoRoot } from '../support/paths.ts'
import { screams, soleMissing, soleUnit } from '../support/sole.ts'
import { processesOf } from '../support/spawned-node.ts'
import { until } from '../support/until.ts'

/** Why processes with a process 1 of their own cannot be made here; undefined when they can. */
function missing(): string | undefined {
  if (process.platform !== 'linux') return 'needs Linux pid namespaces'
  if (process.getuid?.() !== 0) return 'needs root, to make pid namespaces'
  try {
    execFileSync('unshare', ['--pid', '--fork', '--mount-proc', 'true'], { stdio: 'ignore' })
    return soleMissing()
  } catch {
    return 'needs unshare(1) and the right to make pid namespaces'
  }
}

interface Row {
  readonly unit: string
  readonly instance: string
  readonly state: string
  readonly pid: number | null
}

/** A container as far as process 1 is concerned: a pid namespace whose first process is `hsu up`. */
class Container {
  readonly home: string
  readonly #process: ChildProcess
  readonly #ended: Promise<number | string>

  constructor(t: Test, units: (home: string) => object) {
    this.home = mkdtempSync(join(tmpdir(), 'hsu-one-'))
    const config = join(this.home, 'hsu.yaml')
    writeFileSync(config, JSON.stringify(aloneConfig('one', units(this.home))))
    const hsu = [join(repoRoot, 'bin/hsu'), 'up', '-f', config]
    const env = { ...process.env, HSU_DATA_DIR: join(this.home, 'data'), HSU_CONTROL: '', NODE_OPTIONS: '' }
    this.#process = spawn('unshare', ['--pid', '--fork', '--mount-proc', ...hsu], {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    for (const stream of [this.#process.stdout, this.#process.stderr])
      stream?.on('data', (chunk) => (output += String(chunk)))
    this.#ended = new Promise((resolve) => this.#process.once('exit', (code, signal) => resolve(signal ?? code ?? 0)))
    t.teardown(async () => {
      if (!t.passing()) t.comment(output)
      for (const pid of processesOf(this.home)) process.kill(pid, 'SIGKILL')
      await this.#ended
      rmSync(this.home, { recursive: true, force: true })
    })
  }

  /** Process 1, by its pid out here. */
  async first(): Promise<number> {
    return until('process 1', () => childrenOf(this.#process.pid ?? 0)[0])
  }

  /** The processes of the namespace, by their pids out here. */
  async processes(): Promise<readonly { pid: number; state: string; argv: string }[]> {
    const first = await this.first()
    const namespace = pidNamespace(first)
    return readdirSync('/proc')
      .map(Number)
      .filter((pid) => pid > 0 && pidNamespace(pid) === namespace)
      .map((pid) => ({ pid, ...statOf(pid) }))
  }

  async node(): Promise<number> {
    return until('the node', async () => (await this.processes()).find(({ argv }) => /node.*hsu up/.test(argv))?.pid)
  }

  hsu(...args: string[]): string {
    const env = { ...process.env, HSU_DATA_DIR: join(this.home, 'data'), HSU_CONTROL: '', NODE_OPTIONS: '' }
    return execFileSync(join(repoRoot, 'bin/hsu'), args, { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  }

  async untilUp(): Promise<readonly Row[]> {
    return until('all units up', () => {
      try {
        const rows = JSON.parse(this.hsu('ps', '-o', 'json')) as Row[]
        return rows.length > 0 && rows.every(({ state }) => state === 'up') ? rows : undefined
      } catch {
        return undefined
      }
    })
  }

  ended(): Promise<number | string> {
    return this.#ended
  }
}

function childrenOf(pid: number): readonly number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number)
  } catch {
    return []
  }
}

function pidNamespace(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`)
  } catch {
    return ''
  }
}

function statOf(pid: number): { state: string; argv: string } {
  try {
    const state = /^.*\) (\S)/s.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1] ?? ''
    return { state, argv: readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ') }
  } catch {
    return { state: '', argv: '' }
  }
}

const skip = missing() ?? false

t.test('orphans of a daemon that forks twice leave no zombie', { skip, timeout: 60_000 }, async (t) => {
  const container = new Container(t, (home) => ({
    daemon: { run: ['sh', '-c', `(sh -c 'sleep 0.1; : > ${home}/orphan-ended' &) ; exec sleep 86400`] },
  }))
  await container.untilUp()
  await until('the orphan to end', () => existsSync(join(container.home, 'orphan-ended')))
  await until('no zombie to be left', async () => (await container.processes()).every(({ state }) => state !== 'Z'))
  process.kill(await container.first(), 'SIGTERM')
  t.equal(await container.ended(), 0)
})

t.test(
  'SIGTERM and SIGINT stop the units in order, and the exit code is that of the node',
  { skip, timeout: 60_000 },
  async (t) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      const polite = (home: string, name: string): readonly string[] => [
        'sh',
        '-c',
        `trap 'echo ${name} >> ${home}/stopped; exit 0' TERM; while :; do sleep 0.1; done`,
      ]
      const container = new Container(t, (home) => ({
        first: { run: polite(home, 'first') },
        second: { run: polite(home, 'second'), depends_on: ['first'] },
      }))
      await container.untilUp()
      process.kill(await container.first(), signal)
      t.equal(await container.ended(), 0, signal)
      t.equal(readFileSync(join(container.home, 'stopped'), 'utf8'), 'second\nfirst\n')
    }
  },
)

t.test('a killed node is back and has adopted its units', { skip, timeout: 60_000 }, async (t) => {
  const container = new Container(t, (home) => ({ sole: soleUnit(home, 'sole'), sleeper: SLEEPER }))
  const before = await container.untilUp()
  const killed = await container.node()
  process.kill(killed, 'SIGKILL')
  await until('another node', async () => (await container.node()) !== killed)
  const facts = (rows: readonly Row[]): unknown => rows.map(({ unit, instance, pid }) => ({ unit, instance, pid }))
  t.same(facts(await container.untilUp()), facts(before))
  t.equal(screams(container.home), '')
  process.kill(await container.first(), 'SIGTERM')
  t.equal(await container.ended(), 0)
})

t.test('process 1 follows the node through upgrades', { skip, timeout: 90_000 }, async (t) => {
  const container = new Container(t, (home) => ({ sole: soleUnit(home, 'sole') }))
  const [before] = await container.untilUp()
  const first = await container.first()
  for (let swap = 0; swap < 2; swap += 1) {
    const old = await container.node()
    container.hsu('upgrade')
    await until('the old process to end', async () => (await container.processes()).every(({ pid }) => pid !== old))
  }
  const third = await container.node()
  process.kill(third, 'SIGKILL')
  await until('another node', async () => (await container.node()) !== third)
  const [after] = await container.untilUp()
  t.equal(after?.instance, before?.instance)
  t.equal(await container.first(), first)
  t.equal(screams(container.home), '')
  container.hsu('upgrade')
  process.kill(first, 'SIGTERM')
  t.equal(await container.ended(), 0, 'also while the old process may still be ending')
})
