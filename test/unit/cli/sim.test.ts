import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { repoRoot } from '../../support/paths.ts'
import { hsu, type Outcome } from './fake-world.ts'

const EXAMPLE = join(repoRoot, 'examples/sim')

interface Line {
  readonly second: number
  readonly acts: readonly { readonly at: number; readonly what: string }[]
  readonly events: readonly {
    readonly at: number
    readonly node: string
    readonly type: string
    readonly unit: string
  }[]
  readonly nodes: readonly {
    readonly node: string
    readonly state: string
    readonly sees: Record<string, string>
    readonly units: readonly { readonly unit: string; readonly state: string; readonly ready: boolean }[]
  }[]
  readonly breaches: readonly unknown[]
}

function sim(line: string, cwd: string, env: Record<string, string> = {}): Promise<Outcome> {
  return hsu(`sim ${line}`, { world: { cwd, env } })
}

const linesOf = ({ stdout }: Outcome): Line[] =>
  stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Line)

/** A directory with a configuration and a script. */
function files(t: Test, config: string, script: string): string {
  const directory = mkdtempSync(join(tmpdir(), 'hsu-sim-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  writeFileSync(join(directory, 'hsu.yaml'), config)
  writeFileSync(join(directory, 's.yaml'), script)
  return directory
}

t.test('the example shows what its comments say', async (t) => {
  const ran = await sim('hsu.yaml --nodes a,b,c --script bad-day.yaml -o json', EXAMPLE)
  t.equal(ran.code, 0, ran.stderr)
  const lines = linesOf(ran)
  t.equal(lines.length, 60)
  const at = (second: number, node: string) => lines[second - 1]?.nodes.find((each) => each.node === node)
  const ready = (second: number, node: string): number =>
    at(second, node)?.units.filter((unit) => unit.ready).length ?? 0
  t.same(at(2, 'a')?.sees, { b: 'alive', c: 'alive' })
  t.equal(ready(2, 'b'), 0, 'the database is not ready yet, and what depends on it does not run')
  t.equal(ready(4, 'b'), 3)
  t.match(at(8, 'a'), { state: 'down' })
  t.same(at(8, 'b')?.sees, { a: 'dead', c: 'alive' })
  t.same(at(17, 'b')?.sees, { a: 'alive', c: 'alive' })
  t.same(at(36, 'c')?.sees, { a: 'dead', b: 'dead' })
  t.equal(ready(36, 'c'), 3, 'who is cut off goes on')
  t.same(at(42, 'c')?.sees, { a: 'alive', b: 'alive' })
  const types = lines.flatMap(({ events }) => events.map(({ node, type, unit }) => `${node} ${type} ${unit}`))
  t.ok(types.includes('b unit.backoff db'))
  t.ok(types.includes('b unit.dependency_back api'))
  t.match(ran.stderr, 'seed 1: no rule was broken')
})

t.test('the same seed gives the same lines, another one others', async (t) => {
  const line = '--script bad-day.yaml --for 10s'
  const [one, again, other] = [
    await sim(line, EXAMPLE),
    await sim(line, EXAMPLE, { HSU_SEED: '1' }),
    await sim(`${line} --seed 2`, EXAMPLE),
  ]
  t.equal(one.stdout, again.stdout)
  t.not(one.stdout, other.stdout)
  t.match(one.stdout, /^ {4}5[.]000 {2}script {2}crash a$/m)
  t.match(one.stdout, /^ {6}\d s {2}b is up; sees a dead, c alive; db\/0 ready, api\/0 ready/m)
})

t.test('every verb of a script does what it says', async (t) => {
  const config = [
    'version: 1',
    'mesh: { name: m, key_file: none }',
    'units:',
    '  web: { run: [./web], ports: { http: auto }, probes: { ready: { tcp: "{port.http}", every: 1s } } }',
    '  seen: { kind: unmanaged, find: { name: seen } }',
  ].join('\n')
  const script = [
    'version: 1',
    'for: 62s',
    'units: { web: { ready_after: 500ms, stubborn: true, says: hello } }',
    'steps:',
    '  - { at: 2s, loss: 1% }',
    '  - { at: 2s, loss: { share: 5%, from: a } }',
    '  - { at: 2s, delay: 3ms }',
    '  - { at: 2s, duplicate: 5% }',
    '  - { at: 2s, reorder: 5% }',
    '  - { at: 3s, skew: { node: a, by: -1h } }',
    '  - { at: 4s, cut: { from: a, to: [b, c] } }',
    '  - { at: 12s, repair: all }',
    '  - { at: 20s, mdns: silent }',
    '  - { at: 20s, new_ip: b }',
    '  - { at: 25s, mdns: heard }',
    '  - { at: 30s, sick: { unit: web, node: c } }',
    '  - { at: 36s, well: { unit: web, node: c } }',
    '  - { at: 40s, disk_full: a }',
    '  - { at: 41s, disk_free: a }',
    '  - { at: 42s, reload: { node: a, file: more.yaml } }',
    '  - { at: 44s, kill: b }',
    '  - { at: 46s, start: b }',
    '  - { at: 48s, stop: c }',
    '  - { at: 52s, bounce: { node: a, down: 1s } }',
    '  - { at: 56s, freeze: b }',
    '  - { at: 59s, thaw: b }',
    '  - { at: 61s, exit: { unit: web, node: b } }',
  ].join('\n')
  const directory = files(t, config, script)
  writeFileSync(join(directory, 'more.yaml'), `${config}\n  more: { run: [./more] }\n`)
  const ran = await sim('--nodes a,b,c --script s.yaml -o json', directory)
  t.equal(ran.code, 0, ran.stderr)
  t.match(ran.stderr, 'unmanaged units are left out: seen')
  const lines = linesOf(ran)
  const at = (second: number, node: string) => lines[second - 1]?.nodes.find((each) => each.node === node)
  const web = (second: number, node: string) => at(second, node)?.units.find(({ unit }) => unit === 'web')
  t.same(at(10, 'b')?.sees, { a: 'dead', c: 'alive' }, 'who is not heard is gone')
  t.same(at(20, 'b')?.sees, { a: 'alive', c: 'alive' })
  t.same(at(30, 'a')?.sees, { b: 'alive', c: 'alive' }, 'found at its new address')
  t.equal(web(35, 'c')?.ready, false)
  t.equal(web(39, 'c')?.ready, true)
  t.ok(at(44, 'a')?.units.some(({ unit }) => unit === 'more'))
  t.equal(at(45, 'b')?.state, 'down')
  t.ok(lines.some(({ events }) => events.some(({ type, node }) => type === 'unit.adopted' && node === 'b')))
  t.equal(at(60, 'c')?.state, 'down')
  t.equal(at(58, 'b')?.state, 'frozen')
  t.equal(at(58, 'a')?.state, 'up')
  t.ok(lines.at(-1)?.events.some(({ type, node }) => type === 'unit.exited' && node === 'b'))
})

t.test('what is wrong is said before anything is simulated', async (t) => {
  const config = 'version: 1\nunits: { web: { run: [./web] } }\n'
  const script = ['version: 1', 'steps:', '  - { at: 1s }', '  - { at: 1s, crahs: a }', '  - { at: soon, crash: a }']
  const faulty = await sim('--script s.yaml', files(t, config, script.join('\n')))
  t.equal(faulty.code, 2)
  t.match(faulty.stderr, /s[.]yaml:3: steps[.]0: names 0 things to do; write exactly one of partition, /)
  t.match(faulty.stderr, /s[.]yaml:4: steps[.]1: unknown key crahs/)
  t.match(faulty.stderr, /s[.]yaml:5: steps[.]2[.]at: 'soon' is not a duration/)
  t.equal((await sim('--script s.yaml', files(t, config, 'version: [1'))).code, 2)
  const nobody = await sim('--script s.yaml', files(t, config, 'version: 1\nsteps: [{ at: 1s, crash: z }]'))
  t.match(nobody.stderr, /no simulated node 'z'; there are a, b, c/)
  t.match(nobody.stderr, /has no mesh: each node works alone/)
  const directory = files(t, config, 'version: 1')
  t.match((await sim('--script none.yaml', directory)).stderr, /none[.]yaml: there is no such file/)
  t.match((await sim('--nodes a,a', directory)).stderr, /'a' is there twice/)
  t.match((await sim('--nodes ,', directory)).stderr, /is not the name of a node/)
  t.equal((await sim('--nodes a=hsu.yaml --for 1s', directory)).code, 0)
})
