import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { aloneConfig } from '../support/node-configs.ts'
import { fixture } from '../support/paths.ts'
import { nodeHome } from '../support/spawned-node.ts'
import { until } from '../support/until.ts'

/** What test/fixtures/show-launch.mjs writes. */
interface Shown {
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly cwd: string
  readonly pid: number
}
interface UnitRow {
  readonly unit: string
  readonly instance: string
  readonly state: string
  readonly reason: string
  readonly pid: number | null
  readonly ports: Readonly<Record<string, number>>
}

function missing(unit: string): never {
  throw new Error(`no unit ${unit}`)
}

const ARGS = [
  'two words',
  `it's "quoted"`,
  'naïve 日本 🚀',
  '',
  '$HOME `id` $(id)',
  '*',
  'back\\slash',
  'line\nbreak',
  '{"json": "is left alone"}',
  '{{unit.name}}',
  '--me={unit.name}-{replica}',
  '--port={port.http}',
]
/** Variables of the node: some that a unit gets by default, and one that is nobody's business. */
const NODE_ENV = { LANG: 'C.UTF-8', TZ: 'Europe/Berlin', AWS_SECRET: 'never to be seen', NODE_OPTIONS: '' }
const DEFAULT_INHERIT = ['PATH', 'HOME', 'USER', 'LOGNAME', 'LANG', 'LC_ALL', 'TZ', 'TMPDIR', 'SHELL']

t.test('A07: a unit gets exactly the arguments, directory and environment it should', async (t) => {
  const { home, node } = nodeHome(t)
  const out = (unit: string): string => join(home, `${unit}.json`)
  const show = (unit: string): string[] => [process.execPath, fixture('show-launch.mjs'), out(unit)]
  const line = show('line')
    .map((word) => `'${word}'`)
    .join(' ')
  const own = { GREETING: 'hi "there" 日本', EMPTY: '', MINE: '{unit.name}:{port.http}', LANG: 'C' }
  const asList = Object.entries(own).map(([name, value]) => `${name}=${value}`)
  const units = {
    args: { run: [...show('args'), ...ARGS], ports: { http: 'auto' } },
    line: { run: `${line} 'a b' "c d" e\\ f "it's" ''`, cwd: 'sub dir' },
    map: { run: show('map'), env: own, ports: { http: 'auto', admin: 'auto' }, cwd: home },
    list: { run: show('list'), env: asList, ports: { http: 'auto', admin: 'auto' } },
    bare: { run: show('bare'), env_inherit: [] },
    chosen: { run: show('chosen'), env_inherit: ['TZ', 'AWS_SECRET', 'NOT_SET'] },
  }
  const asked = { run: [...show('asked'), '--me={unit.name}'], activation: 'manual' }
  const alone = node('alone', { config: aloneConfig('alone', { ...units, asked }), env: NODE_ENV })
  mkdirSync(join(alone.directory, 'sub dir'))
  await alone.start()
  for (const unit of Object.keys(units)) await until(`${unit} to show itself`, () => existsSync(out(unit)))
  const shown = (unit: string): Shown => JSON.parse(readFileSync(out(unit), 'utf8')) as Shown
  const rows = await alone.json<UnitRow>('ps')
  const rowOf = (unit: string): UnitRow => rows.find((row) => row.unit === unit) ?? missing(unit)
  const nodeEnv: Readonly<Record<string, string | undefined>> = { ...process.env, ...NODE_ENV }

  await t.test('arguments reach it as they are, templates filled in, no shell in between', async (t) => {
    const { http } = rowOf('args').ports
    t.same(shown('args').args, [...ARGS.slice(0, -2), '--me=args-0', `--port=${http}`])
    t.same(shown('line').args, ['a b', 'c d', 'e f', "it's", ''], 'a string is split as a shell splits it')
    t.equal(shown('args').pid, rowOf('args').pid, 'and its pid is the one that is shown')
  })

  await t.test('it runs where the config file is, or where cwd says', async (t) => {
    t.equal(shown('args').cwd, alone.directory)
    t.equal(shown('line').cwd, join(alone.directory, 'sub dir'), 'relative to the config file')
    t.equal(shown('map').cwd, home)
  })

  await t.test('a start may add arguments, which last as long as that start', async (t) => {
    const more = ['--date', '2025-01-01', 'two words', '$HOME', '{unit.name}', '--help']
    t.equal((await alone.hsu('start', 'asked', '--', ...more)).code, 0)
    await until('it to show itself', () => existsSync(out('asked')))
    t.same(shown('asked').args, ['--me=asked', ...more], 'behind its own, as they are')

    const { pid } = shown('asked')
    const late = await alone.hsu('start', 'asked', '--', '--late')
    t.not(late.code, 0)
    t.match(late.stderr, /runs already, so it cannot be given arguments; stop it first/)
    t.equal((await alone.hsu('kill', 'asked')).code, 0)
    await until('it to be back after the crash', () => shown('asked').pid !== pid)
    t.same(shown('asked').args, ['--me=asked', ...more], 'a crash does not change them')

    const again = shown('asked').pid
    t.equal((await alone.hsu('restart', 'asked')).code, 0)
    await until('another process', () => shown('asked').pid !== again)
    t.same(shown('asked').args, ['--me=asked'], 'whoever restarts it gives it new ones, or none')
  })

  /** All that a unit has in its environment besides its own `env` and `env_inherit`. */
  const given = (unit: string): Record<string, string> => {
    const { instance, ports } = rowOf(unit)
    const named = Object.entries(ports).map(([name, port]) => [`HSU_PORT_${name.toUpperCase()}`, String(port)])
    const [first] = Object.values(ports)
    return {
      PYTHONUNBUFFERED: '1',
      HSU_UNIT: unit,
      HSU_INSTANCE: instance,
      HSU_REPLICA: '0',
      ...(Object.fromEntries(named) as Record<string, string>),
      ...(first === undefined ? {} : { PORT: String(first) }),
      HSU_NODE: 'alone',
      HSU_INGRESS: shown(unit).env['HSU_INGRESS'] ?? 'missing',
      HSU_CONTROL: shown(unit).env['HSU_CONTROL'] ?? 'missing',
      GRPC_XDS_BOOTSTRAP: join(alone.directory, 'run', 'xds.json'),
      OTEL_SERVICE_NAME: unit,
      OTEL_RESOURCE_ATTRIBUTES: `service.instance.id=${instance},host.name=alone`,
      HSU_INSTANCE_DIR: shown(unit).env['HSU_INSTANCE_DIR'] ?? 'missing',
    }
  }
  const inherited = (names: readonly string[]): Record<string, string> =>
    Object.fromEntries(names.flatMap((name) => (nodeEnv[name] === undefined ? [] : [[name, nodeEnv[name]]])))

  await t.test('its environment is what it inherits, what HSU gives, and its own, and nothing else', async (t) => {
    t.same(shown('args').env, { ...inherited(DEFAULT_INHERIT), ...given('args') })
    t.match(shown('args').env, { HSU_INGRESS: /^127\.0\.0\.1:\d+$/, HSU_CONTROL: /control\.sock/, TZ: 'Europe/Berlin' })
    t.same(shown('bare').env, given('bare'), 'nothing inherited, not even PATH')
    t.same(shown('chosen').env, { TZ: 'Europe/Berlin', AWS_SECRET: NODE_ENV.AWS_SECRET, ...given('chosen') })
    for (const unit of ['args', 'line', 'map', 'list', 'bare']) {
      t.notOk(JSON.stringify(shown(unit).env).includes(NODE_ENV.AWS_SECRET), `${unit} does not see the secret`)
    }
  })

  await t.test('hsu env tells what it was given, without what is its own; and what other programs need', async (t) => {
    const told = Object.entries(given('map')).filter(
      ([name]) => !['HSU_INSTANCE_DIR', 'PYTHONUNBUFFERED'].includes(name),
    )
    t.same(await alone.json('env', 'map'), Object.fromEntries(told))
    const program = (await alone.json('env')) as unknown as Record<string, string>
    const { HSU_NODE, HSU_INGRESS, HSU_CONTROL, GRPC_XDS_BOOTSTRAP } = shown('map').env
    t.same(program, { HSU_NODE, HSU_INGRESS, HSU_CONTROL, GRPC_XDS_BOOTSTRAP })
    t.ok(existsSync(program['GRPC_XDS_BOOTSTRAP'] ?? ''), 'the file is there')
    const script = `eval "$(cat)"; echo "$HSU_INGRESS"`
    const { stdout } = await alone.hsu('env')
    t.equal(execFileSync('/bin/sh', ['-c', script], { input: stdout, encoding: 'utf8' }), `${HSU_INGRESS}\n`)
  })

  await t.test('a map and a list of variables are the same, and win over what is inherited', async (t) => {
    for (const unit of ['map', 'list']) {
      const mine = { ...own, MINE: `${unit}:${rowOf(unit).ports['http']}` }
      t.same(shown(unit).env, { ...inherited(DEFAULT_INHERIT), ...given(unit), ...mine })
    }
  })
})

t.test('A07: programs are found by PATH; one that cannot be run fails its unit alone, and says why', async (t) => {
  const { home, node } = nodeHome(t)
  const bin = join(home, 'bin')
  mkdirSync(bin)
  const program = (name: string, mode: number, text = '#!/bin/sh\nexec sleep 86400\n'): void => {
    writeFileSync(join(bin, name), text)
    chmodSync(join(bin, name), mode)
  }
  program('hsu-test-tool', 0o755)
  program('hsu-test-data', 0o644)
  program('hsu-test-orphan', 0o755, '#!/opt/no/such/interpreter\n')
  const env = { PATH: `${bin}:/usr/bin:/bin` }
  const units = {
    onpath: { run: ['hsu-test-tool'], env },
    bypath: { run: [join(bin, 'hsu-test-tool')] },
    nox: { run: [join(bin, 'hsu-test-data')] },
    noxonpath: { run: ['hsu-test-data'], env },
    missing: { run: ['./no-such-program'] },
    unknown: { run: ['hsu-test-nowhere'] },
    orphan: { run: ['hsu-test-orphan'], env },
    nowhere: { run: ['sleep', '1'], cwd: '/no/such/directory' },
  }
  const alone = node('alone', { config: aloneConfig('alone', units) })
  await alone.start()
  const rows = await until('all to be decided', async () => {
    const all = await alone.json<UnitRow>('ps')
    return all.every(({ state }) => state === 'up' || state === 'failed') && all
  })
  const seen = Object.fromEntries(rows.map(({ unit, state, reason }) => [unit, `${state} ${reason}`]))
  t.match(seen, {
    onpath: /^up/,
    bypath: /^up/,
    nox: /^failed cannot run .*hsu-test-data.* may not be executed; chmod \+x it/,
    noxonpath: /^failed cannot run hsu-test-data.* may not be executed; chmod \+x it/,
    missing: /^failed cannot run \.\/no-such-program .*no such file: \/.*no-such-program/,
    unknown:
      /^failed cannot run hsu-test-nowhere .*not found in the PATH of the unit \(.*\); give its path, or set env\.PATH/,
    orphan: /^failed cannot run .* its interpreter \/opt\/no\/such\/interpreter does not exist/,
    nowhere:
      /^failed cannot run sleep .*its working directory \/no\/such\/directory does not exist; correct 'cwd' or make it/,
  })
  const { code, stderr } = await alone.hsu('start', 'missing')
  t.equal(code !== 0, true)
  t.match(stderr, /cannot run \.\/no-such-program of unit 'missing'/)
})
