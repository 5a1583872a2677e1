import t from 'tap'
import { CONFIG_DIR, failureOf, faultsOf, load } from '../../support/config.ts'

const UNIT = 'version: 1\nunits: { api: { run: x } }\n'

t.test('which file', async (t) => {
  t.equal((await load({ files: { 'hsu.yml': UNIT } })).files[0], `${CONFIG_DIR}/hsu.yml`)
  t.equal((await load({ files: { 'hsu.yml': 'version: 9', 'hsu.yaml': UNIT } })).files[0], `${CONFIG_DIR}/hsu.yaml`)
  t.same(await faultsOf({ files: {} }), ['hsu.yaml: no such file in /etc/plant; write one, or name a file with -f'])
  t.equal((await failureOf({ files: {} }))?.reason, 'CONFIG_INVALID')
  t.same(await faultsOf({ files: { 'hsu.yaml': UNIT }, named: ['a.yaml', 'hsu.yaml', '/srv/b.yaml'] }), [
    'a.yaml: cannot read it: no such file; check the name given with -f',
    '/srv/b.yaml: cannot read it: no such file; check the name given with -f',
  ])
  t.equal((await load({ files: { 'conf/hsu.yaml': UNIT }, named: ['conf/hsu.yaml'] })).baseDir, `${CONFIG_DIR}/conf`)
})

t.test('later files win: maps are merged, lists and values replaced, and origins follow', async (t) => {
  const { config, origins, files } = await load({
    named: ['base.yaml', 'site.yaml'],
    files: {
      'base.yaml': `version: 1
node: { labels: { zone: a, rack: 7 } }
units:
  api: { run: [./api, -v], env: { A: "1", B: "2" }, replicas: 1 }
`,
      'site.yaml': `node: { labels: { zone: b } }
units:
  api: { run: [./api], env: { B: "3" }, replicas: 2 }
  db: { run: ./db }
`,
    },
  })
  t.same(config.node.labels, { zone: 'b', rack: '7' })
  t.same(config.units['api']?.run, ['./api'])
  t.same(config.units['api']?.env, { A: '1', B: '3' })
  t.same(Object.keys(config.units), ['api', 'db'])
  t.same(files, [`${CONFIG_DIR}/base.yaml`, `${CONFIG_DIR}/site.yaml`])
  t.equal(origins.get('node.labels.zone'), 'site.yaml:1:25')
  t.equal(origins.get('node.labels.rack'), 'base.yaml:2:34')
  t.equal(origins.get('units.api.replicas'), 'site.yaml:3:51')
  t.equal(origins.get('units.api.run[0]'), 'site.yaml:3:16')
  t.equal(origins.get('units.api.run'), 'site.yaml:3:15')
  t.equal(origins.get('units.api.stop.grace'), 'default')
  t.equal(origins.get('node.name'), 'default')
})

t.test('a fault is shown in the file that it is in', async (t) => {
  const faults = await faultsOf({
    named: ['base.yaml', 'site.yaml'],
    files: { 'base.yaml': `${UNIT}nod: {}`, 'site.yaml': 'units:\n  api: { replicas: x }' },
  })
  t.same(faults, [
    "base.yaml:3:1: nod: unknown key; did you mean 'node'?",
    "site.yaml:2:20: units.api.replicas: must be a whole number, not 'x'",
  ])
})

t.test('variables', async (t) => {
  const files = {
    'hsu.yaml': `version: 1
units:
  api:
    run: ["./api", "\${HOST}:\${PORT:-80}", "$\${HOST}", "cost $5", "\${EMPTY}", "\${EMPTY:-full}", "\${NONE:-\${HOST}}"]
    replicas: \${N}
    env: { PLAIN: "\${FROM_FILE}", TEXT: "\${N}", LEVEL: "\${LEVEL}" }
`,
    '.env': `# comment
FROM_FILE='single # $ quoted'
export LEVEL=file # comment
N=9
`,
  }
  const { config, files: read } = await load({ files, env: { HOST: 'h', EMPTY: '', N: '3', LEVEL: 'env' } })
  const { api } = config.units
  t.same(api?.run, ['./api', 'h:80', '${HOST}', 'cost $5', '', 'full', 'h'])
  t.equal(api?.replicas, 3, 'a plain scalar has the type of what it becomes; the environment wins over .env')
  t.same(api?.env, { PLAIN: 'single # $ quoted', TEXT: '3', LEVEL: 'env' })
  t.ok(read.includes(`${CONFIG_DIR}/.env`))

  const one = (value: string): string => `version: 1\nunits: \n  api:\n    run: x\n    cwd: ${value}\n`
  t.same(await faultsOf(one('${HOME_DIR}/a')), [
    'hsu.yaml:5:10: units.api.cwd: ${HOME_DIR} is not set; set it in the environment or in .env, or write ${HOME_DIR:-default}',
  ])
  t.same(
    await faultsOf('version: 1\nunits:\n  api:\n    run: x\n    replicas: ${N}\n    stop: { grace: "${G}" }\n'),
    [
      'hsu.yaml:5:15: units.api.replicas: ${N} is not set; set it in the environment or in .env, or write ${N:-default}',
      'hsu.yaml:6:20: units.api.stop.grace: ${G} is not set; set it in the environment or in .env, or write ${G:-default}',
    ],
    'and nothing about the values that they would have given',
  )
  for (const bad of ['${A', '${1A}', '${A-b}', '${A:?b}', '${}']) {
    t.match(
      (await faultsOf(one(`"${bad}"`)))[0],
      /is not a variable; write \$\{NAME\}, \$\{NAME:-default\}, or \$\$ for a plain \$$/,
      bad,
    )
  }
  t.same(
    await faultsOf({ files: { 'hsu.yaml': UNIT.replace('run: x', 'run: x, replicas: "${N}"') }, env: { N: '2' } }),
    ["hsu.yaml:2:35: units.api.replicas: must be a whole number, not '${N}'; remove the quotes"],
    'a message shows the name of a variable, never its value',
  )
})

t.test('a variable that nobody uses in the end is not missed', async (t) => {
  const files = { 'a.yaml': 'version: 1\nunits: { api: { run: "${NOBODY}" } }', 'b.yaml': 'units: { api: { run: x } }' }
  t.same(await faultsOf({ files, named: ['a.yaml', 'b.yaml'] }), [])
})

t.test('.env', async (t) => {
  const env = async (text: string, name: string): Promise<string | undefined> =>
    (
      await load({
        files: { '.env': text, 'hsu.yaml': `version: 1\nunits: { a: { run: x, env: { V: "\${${name}}" } } }` },
      })
    ).config.units['a']?.env['V']
  t.equal(await env('A=b c  # d', 'A'), 'b c')
  t.equal(await env('A=b#c', 'A'), 'b#c')
  t.equal(await env('A="x\\n\\"y\\" \\$z" # c', 'A'), 'x\n"y" $z')
  t.equal(await env('\uFEFFA=1\r\nB=2\r\n', 'B'), '2')
  t.equal(await env('A=', 'A'), '')
  t.same(await faultsOf({ files: { 'hsu.yaml': UNIT, '.env': "A=1\n  what\nB=\"open\nC='x' y" } }), [
    '.env:2:3: must be NAME=value',
    '.env:3:1: the quote in the value of B is not closed',
    '.env:4:1: the quote in the value of C is not closed',
  ])
})

t.test('variables that overrule keys', async (t) => {
  const env = { HSU_DATA_DIR: '/srv/hsu', HSU_NODE_NAME: 'n2', HSU_LOG_LEVEL: 'debug' }
  const { config, origins } = await load({ files: { 'hsu.yaml': 'version: 1\nnode: { name: n1 }' }, env })
  t.match(config.node, { name: 'n2', data_dir: '/srv/hsu', log_level: 'debug' })
  t.equal(origins.get('node.data_dir'), 'env HSU_DATA_DIR')
  t.same(await faultsOf({ files: { 'hsu.yaml': 'version: 1' }, env: { HSU_LOG_LEVEL: 'all' } }), [
    "env HSU_LOG_LEVEL: node.log_level: must be one of debug, info, warn, error, not 'all'",
  ])
  t.equal((await load({ files: { 'hsu.yaml': 'version: 1' }, env: { HSU_NODE_NAME: '' } })).config.node.name, 'edge-a')
})

t.test('anchors, merge keys and x- keys', async (t) => {
  const { config } = await load(`version: 1
x-common: &common
  env: { A: "1" }
  replicas: 3
units:
  a: { <<: *common, run: a }
  b: { <<: [*common, { cwd: /b, replicas: 9 }], run: b, env: { B: "2" } }
`)
  t.match(config.units['a'], { env: { A: '1' }, replicas: 3 })
  t.match(config.units['b'], { replicas: 3, cwd: '/b' })
  t.same(config.units['b']?.env, { B: '2' })
  t.match(await faultsOf('version: 1\nunits: { a: { <<: 5, run: x } }'), [
    'hsu.yaml:2:15: units.a.<<: must be a map, or a list of maps'.replace('a.<<', 'a["<<"]'),
  ])
})

t.test('extends', async (t) => {
  const files = {
    'hsu.yaml': `version: 1
units:
  base: { run: [./srv], env: { A: "1", B: "2" }, stop: { grace: 5s } }
  api: { extends: base, env: { B: "3" }, stop: { drain: 1s } }
  far: { extends: { file: lib/common.yaml, unit: web }, replicas: 2 }
`,
    'lib/common.yaml': `units:
  root: { run: ./root, cwd: /r }
  web: { extends: root, run: ./web, env: { U: "\${NOT_USED:-x}" } }
  other: { run: "\${UNSET}" }
`,
  }
  const { config, origins, effective } = await load({ files })
  t.same(config.units['api']?.run, ['./srv'])
  t.same(config.units['api']?.env, { A: '1', B: '3' })
  t.match(config.units['api']?.stop, { grace: 5_000, drain: 1_000 })
  t.match(config.units['far'], { run: ['./web'], cwd: '/r', replicas: 2 })
  t.equal(origins.get('units.far.cwd'), 'lib/common.yaml:2:29')
  t.notOk(JSON.stringify(effective).includes('extends'))

  const one = (text: string): string => `version: 1\nunits:\n${text}`
  t.same(await faultsOf(one('  a: { run: x, extends: b }\n  b: { extends: c }\n  c: { extends: a }\n')), [
    'hsu.yaml:5:17: units.c.extends: extends itself: a -> b -> c -> a',
  ])
  t.same(await faultsOf(one('  a: { run: x, extends: a }\n')), [
    'hsu.yaml:3:25: units.a.extends: extends itself: a -> a',
  ])
  t.same(await faultsOf(one('  api: { run: x, extends: bse }\n  base: { run: y }\n')), [
    "hsu.yaml:3:27: units.api.extends: no unit 'bse'; did you mean 'base'?",
  ])
  t.same(await faultsOf(one('  a: { run: x, extends: { file: no.yaml, unit: a } }\n')), [
    'hsu.yaml:3:25: units.a.extends: cannot read no.yaml: no such file',
  ])
  t.same(await faultsOf(one('  a: { run: x, extends: { fil: no.yaml, unit: a } }\n')), [
    "hsu.yaml:3:27: units.a.extends.fil: unknown key; did you mean 'file'?",
  ])
  const apart = {
    'hsu.yaml': one('  a: { run: x, extends: { file: b.yaml, unit: b } }\n'),
    'b.yaml': 'units:\n  b: { extends: { file: hsu.yaml, unit: a } }\n',
  }
  t.same(await faultsOf({ files: apart }), [
    'hsu.yaml:3:25: units.a.extends: extends itself: b.yaml:b -> hsu.yaml:a -> b.yaml:b',
  ])
})
