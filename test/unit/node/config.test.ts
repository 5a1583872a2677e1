import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { expandTemplates } from '../../../src/process/templates.ts'
import { repoRoot } from '../../support/paths.ts'
import { type ConfigCase, failureOf, faultsOf, load } from '../../support/config.ts'

/** Lines after a valid head, so that the first line of `text` is line 2. */
const file = (text: string): string => `version: 1\n${text}`
const unit = (text: string): string => file(`units:\n  api:\n    run: ./api\n${text.replace(/^/gm, '    ')}`)

t.test('each fault is named with its place, its key and what to do', async (t) => {
  const cases: readonly (readonly [name: string, text: string | ConfigCase, ...faults: string[]])[] = [
    [
      'an unknown key with a near one',
      unit('prots: { grpc: auto }'),
      "hsu.yaml:5:5: units.api.prots: unknown key; did you mean 'ports'?",
    ],
    ['two letters swapped', unit('enf: { A: b }'), "hsu.yaml:5:5: units.api.enf: unknown key; did you mean 'env'?"],
    [
      'other habits of spelling',
      unit('dependsOn: []'),
      "hsu.yaml:5:5: units.api.dependsOn: unknown key; did you mean 'depends_on'?",
    ],
    [
      'an unknown key like no other',
      unit('stop: { zebra: 1 }'),
      'hsu.yaml:5:13: units.api.stop.zebra: unknown key; known here: signal, command, grace, drain',
    ],
    [
      'an unknown key in a list form',
      unit('depends_on: { api2: { conditon: healthy } }').concat('\n  api2: { run: x }'),
      "hsu.yaml:5:27: units.api.depends_on.api2.conditon: unknown key; did you mean 'condition'?",
    ],
    ['an unknown key of the file', file('unit: {}'), "hsu.yaml:2:1: unit: unknown key; did you mean 'units'?"],
    ['no version', 'units: {}', 'hsu.yaml:1:1: version: is required: 1'],
    ['another version', 'version: 2', 'hsu.yaml:1:10: version: must be 1, not the number 2'],
    ['an empty file', '', 'hsu.yaml:1:1: version: is required: 1'],
    ['a file of comments', '# nothing\n', 'hsu.yaml:1:1: version: is required: 1'],
    ['a list', '- a', 'hsu.yaml:1:1: must be a map of version, node, mesh and units'],
    ['a text', 'hello', 'hsu.yaml:1:1: must be a map of version, node, mesh and units'],
    ['units as a list', file('units: [api]'), 'hsu.yaml:2:1: units: must be a map, not a list'],
    [
      'a unit without anything',
      file('units:\n  api:\n'),
      'hsu.yaml:3:7: units.api: is empty; write a map, or remove the key',
    ],
    [
      'a key without a value',
      unit('env:'),
      'hsu.yaml:5:9: units.api.env: is empty; write a map or a list, or remove the key',
    ],
    [
      'a bad unit name',
      file('units: { My_Api: { run: x } }'),
      'hsu.yaml:2:10: units.My_Api: must be 1 to 63 lower case letters, digits and -',
    ],
    [
      'a bad kind',
      unit('kind: intergrated'),
      "hsu.yaml:5:11: units.api.kind: must be one of managed, unmanaged, integrated, not 'intergrated'; did you mean 'integrated'?",
    ],
    [
      'a number in quotes',
      unit('replicas: "3"'),
      "hsu.yaml:5:15: units.api.replicas: must be a whole number, not '3'; remove the quotes",
    ],
    [
      'a fraction',
      unit('replicas: 1.5'),
      'hsu.yaml:5:15: units.api.replicas: must be a whole number, not the number 1.5',
    ],
    ['too many', unit('replicas: 5000'), 'hsu.yaml:5:15: units.api.replicas: must be at most 1000'],
    ['too few', unit('logs: { keep: 0 }'), 'hsu.yaml:5:19: units.api.logs.keep: must be at least 1'],
    [
      'YAML 1.1 truth',
      unit('probes: { ready: { tcp: 80, enabled: yes } }'),
      "hsu.yaml:5:42: units.api.probes.ready.enabled: must be true or false, not 'yes'",
    ],
    [
      'a duration without a unit',
      unit('stop: { grace: 15 }'),
      'hsu.yaml:5:20: units.api.stop.grace: must be a duration, such as "10s", not the number 15',
    ],
    [
      'a duration with a space',
      unit('stop: { grace: 3 d }'),
      'hsu.yaml:5:20: units.api.stop.grace: \'3 d\' is not a duration; write a number and a unit, such as "250ms", "10s", "5m", "1h" or "7d"',
    ],
    [
      'a range the wrong way',
      unit('restart: { backoff: 60s..1s }'),
      'hsu.yaml:5:25: units.api.restart.backoff: \'60s..1s\' is not a range of durations; write the smaller, two dots, the larger, such as "500ms..60s"',
    ],
    [
      'a size',
      unit('logs: { max_size: 10mb }'),
      'hsu.yaml:5:23: units.api.logs.max_size: \'10mb\' is not a size; write a number and a unit, such as "64MiB" or "10MB"',
    ],
    [
      'a signal',
      unit('stop: { signal: STOP }'),
      'hsu.yaml:5:21: units.api.stop.signal: must be one of TERM, INT, QUIT, HUP, USR1, USR2, KILL',
    ],
    [
      'no option of a union',
      unit('ports: { grpc: atuo }'),
      "hsu.yaml:5:20: units.api.ports.grpc: must be auto or a whole number, not 'atuo'; did you mean 'auto'?",
    ],
    [
      'one option of a union, nearly',
      unit('ports: { grpc: 70000 }'),
      'hsu.yaml:5:20: units.api.ports.grpc: must be at most 65535',
    ],
    [
      'a wrong item of a list',
      unit('depends_on: [{ db: {} }]'),
      'hsu.yaml:5:18: units.api.depends_on[0]: must be text, not a map',
    ],
    ['an empty command', file('units: { api: { run: [] } }'), 'hsu.yaml:2:17: units.api.run: must not be empty'],
    ['a blank command', file('units: { api: { run: "  " } }'), 'hsu.yaml:2:22: units.api.run: must not be empty'],
    ['an entry of a list of variables', unit('env: [A=1, B]'), 'hsu.yaml:5:16: units.api.env[1]: must be NAME=value'],
    [
      'a URL',
      unit('probes: { live: { http: "ftp://x" } }'),
      'hsu.yaml:5:29: units.api.probes.live.http: must be an http:// or https:// address',
    ],
    [
      'two ways to probe',
      unit('probes: { live: { tcp: 80, process: true } }'),
      'hsu.yaml:5:15: units.api.probes.live: must have exactly one of process, tcp, http, exec, grpc, log, file',
    ],
    [
      'a log probe for liveness',
      unit('probes: { live: { log: listening } }'),
      'hsu.yaml:5:28: units.api.probes.live.log: is for start and ready: a line that was written stays written, so it can never fail',
    ],
    [
      'a log probe that is no regular expression',
      unit('probes: { ready: { log: "a(b" } }'),
      'hsu.yaml:5:29: units.api.probes.ready.log: is not a regular expression: Invalid regular expression: /a(b/u: Unterminated group',
    ],
    [
      'an owner for a probe that asks no port',
      unit('probes: { ready: { process: true, owner: any } }'),
      'hsu.yaml:5:46: units.api.probes.ready.owner: is for the kinds that ask a port: tcp and grpc',
    ],
    [
      'two ways to probe a start',
      unit('probes: { start: { tcp: 80, file: x } }'),
      'hsu.yaml:5:15: units.api.probes.start: must have at most one of process, tcp, http, exec, grpc, log, file',
    ],
    [
      'a start probe for an unmanaged unit',
      file('units: { db: { kind: unmanaged, find: { pid: 1 }, probes: { start: { within: 1s } } } }'),
      'hsu.yaml:2:61: units.db.probes.start: is for units that the node starts and restarts; an unmanaged unit has probes.ready and checks',
    ],
    [
      'a log probe for an unmanaged unit',
      file('units: { db: { kind: unmanaged, find: { pid: 1 }, probes: { ready: { log: x } } } }'),
      'hsu.yaml:2:75: units.db.probes.ready.log: is for units whose output the node has; use another kind for an unmanaged unit',
    ],
    [
      'a check of the log of an unmanaged unit',
      file('units: { db: { kind: unmanaged, find: { pid: 1 }, checks: { a: { log: x } } } }'),
      'hsu.yaml:2:71: units.db.checks.a.log: is for units whose output the node has; a check of an unmanaged unit cannot see it',
    ],
    [
      'a check of that name',
      file('units: { db: { kind: unmanaged, find: { pid: 1 }, checks: { ready: { process: true } } } }'),
      'hsu.yaml:2:61: units.db.checks.ready: is the name of the check in probes.ready; choose another',
    ],
    [
      'a check of a managed unit',
      file('units: { db: { run: x, checks: { a: { process: true } } } }'),
      'hsu.yaml:2:24: units.db.checks: is only for kind: unmanaged; this unit is managed',
    ],
    [
      'an action on what is only watched',
      file('units: { db: { kind: unmanaged, find: { pid: 1 }, limits: { memory: 1GiB, on_exceed: restart } } }'),
      'hsu.yaml:2:86: units.db.limits.on_exceed: must be log or alert: what is unmanaged is only watched',
    ],
    [
      'an action on what is only watched, for one limit',
      file(
        'units: { db: { kind: unmanaged, find: { pid: 1 }, limits: { cpu: 1, on_exceed: { cpu: kill, memory: log } } } }',
      ),
      'hsu.yaml:2:87: units.db.limits.on_exceed.cpu: must be log or alert: what is unmanaged is only watched',
    ],
    ['no command', file('units: { api: {} }'), 'hsu.yaml:2:10: units.api.run: is required for a managed unit'],
    [
      'nothing to find',
      file('units: { db: { kind: unmanaged } }'),
      'hsu.yaml:2:10: units.db.find: is required for an unmanaged unit',
    ],
    [
      'services of a managed unit',
      unit('services: [a.B]'),
      'hsu.yaml:5:5: units.api.services: is only for kind: integrated; this unit is managed',
    ],
    [
      'a restart of an unmanaged unit',
      file('units: { db: { kind: unmanaged, find: { pid: 1 }, restart: {} } }'),
      'hsu.yaml:2:51: units.db.restart: is only for kind: managed or integrated; this unit is unmanaged',
    ],
    [
      'an unknown dependency',
      unit('depends_on: [ap2]').concat('\n  api2: { run: x }'),
      "hsu.yaml:5:18: units.api.depends_on[0]: no unit 'ap2'; did you mean 'api2'?",
    ],
    [
      'a line to wait for that is not told',
      unit('depends_on: { api2: { condition: log } }').concat('\n  api2: { run: x }'),
      'hsu.yaml:5:38: units.api.depends_on.api2.condition: log needs to know the line; add line: "ready to accept"',
    ],
    [
      'a line that nobody waits for',
      unit('depends_on: { api2: { line: ready } }').concat('\n  api2: { run: x }'),
      'hsu.yaml:5:33: units.api.depends_on.api2.line: is for condition: log',
    ],
    [
      'a line of a unit of another node',
      unit('depends_on: { far: { condition: log, line: ready, scope: mesh } }'),
      'hsu.yaml:5:37: units.api.depends_on.far.condition: log is for a unit of this node; use healthy with scope: mesh',
    ],
    [
      'a failure of what has completed',
      unit('depends_on: { api2: { condition: completed, on_fail: stop } }').concat('\n  api2: { run: x }'),
      'hsu.yaml:5:58: units.api.depends_on.api2.on_fail: has no meaning for a unit that has completed: it does not fail afterwards; remove it',
    ],
    [
      'a line of an unmanaged unit',
      unit('depends_on: { db: { condition: log, line: ready } }').concat(
        '\n  db: { kind: unmanaged, find: { pid: 1 } }',
      ),
      'hsu.yaml:5:36: units.api.depends_on.db.condition: the output of an unmanaged unit is not read; use started or healthy',
    ],
    [
      'a unit that waits for itself',
      unit('depends_on: [api]'),
      'hsu.yaml:5:5: units.api.depends_on: goes in a circle: api -> api',
    ],
    [
      'an undeclared port',
      file('units: { api: { run: [./api, "{port.grcp}"], ports: { grpc: auto } } }'),
      "hsu.yaml:2:30: units.api.run[1]: {port.grcp} is not declared; did you mean 'grpc'?",
    ],
    [
      'a port where there are none',
      unit('env: { P: "{port.http}" }'),
      'hsu.yaml:5:15: units.api.env.P: {port.http} is not declared; add http to ports',
    ],
    [
      'an unknown template',
      unit('env: { P: "{unit.nam}" }'),
      "hsu.yaml:5:15: units.api.env.P: unknown template {unit.nam}; did you mean 'unit.name'?",
    ],
    [
      'an address',
      file('node: { listen: { ingress: 9470 } }'),
      'hsu.yaml:2:28: node.listen.ingress: must be text, not the number 9470',
    ],
    [
      'an address without a port',
      file('node: { listen: { ingress: localhost } }'),
      'hsu.yaml:2:28: node.listen.ingress: must be HOST:PORT, such as 127.0.0.1:9470',
    ],
    [
      'a port out of range',
      file('node: { listen: { ingress: "[::1]:70000" } }'),
      'hsu.yaml:2:28: node.listen.ingress: the port must be at most 65535',
    ],
    ['a mesh without a key', file('mesh: { name: plant }'), 'hsu.yaml:2:1: mesh.key_file: is required: text'],
    [
      'a unit given twice',
      file('units:\n  api: { run: x }\n  api: { run: y }'),
      'hsu.yaml:4:3: units.api: is there twice; the first is at line 3; rename or remove one',
    ],
    [
      'a key given twice',
      unit('cwd: a\ncwd: b'),
      'hsu.yaml:6:5: units.api.cwd: is there twice; the first is at line 5; rename or remove one',
    ],
  ]
  for (const [name, text, ...faults] of cases) {
    t.test(name, async (t) => t.same(await faultsOf(text), faults))
  }
})

t.test('syntax is reported with its place, and nothing else then', async (t) => {
  const cases: readonly (readonly [name: string, text: string, fault: RegExp])[] = [
    ['a tab', 'version: 1\nunits:\n\tapi: {}\n', /^hsu\.yaml:3:1: tabs are not allowed as indentation$/],
    ['an open bracket', 'version: 1\nunits: [a\nnode: {}\n', /^hsu\.yaml:3:1: flow sequence/],
    ['an open quote', 'version: 1\nunits: "a\n', /^hsu\.yaml:3:1: missing closing "quote$/],
    ['two documents', 'version: 1\n---\nversion: 1\n', /^hsu\.yaml:2:1: a second YAML document begins here/],
    ['a tag', 'version: !one 1\n', /^hsu\.yaml:1:10: tags such as !name have no meaning here$/],
    [
      'a variable in a flow map',
      'version: 1\nunits: { a: { replicas: ${N} } }\n',
      /^hsu\.yaml:2:26: .*; a variable inside \{ \} or \[ \] must be quoted: "\$\{NAME\}"$/,
    ],
    ['an endless nest', `version: ${'['.repeat(100_000)}`, /^hsu\.yaml:1:\d+: is nested more than 64 levels deep$/],
    ['a huge file', `# ${'x'.repeat(2_000_000)}`, /^hsu\.yaml:1:1: is larger than 1048576 characters/],
  ]
  for (const [name, text, fault] of cases) {
    t.test(name, async (t) => {
      const faults = await faultsOf(text)
      t.equal(faults.length, 1, faults.join('\n'))
      t.match(faults[0], fault)
    })
  }

  t.test('aliases that multiply are stopped', async (t) => {
    const levels = Array.from(
      { length: 9 },
      (_, level) => `l${level + 1}: &l${level + 1} [${`*l${level}, `.repeat(9)}]`,
    )
    const faults = await faultsOf(`version: 1\nl0: &l0 [a]\n${levels.join('\n')}\n`)
    t.ok(
      faults.some((fault) => fault.endsWith('holds more than 100000 values; is an alias repeated?')),
      faults.join('\n'),
    )
  })

  t.test('an alias of nothing, and one inside its own anchor', async (t) => {
    t.same(await faultsOf(unit('env: *e')), [
      'hsu.yaml:5:10: units.api.env: no anchor &e before this alias',
      'hsu.yaml:5:10: units.api.env: is empty; write a map or a list, or remove the key',
    ])
    t.match(await faultsOf(unit('env: &e { A: *e }')), [/alias \*e is inside its own anchor/, /is empty/])
  })
})

t.test('all faults come at once, each once, in the order of the file', async (t) => {
  const failure = await failureOf(`version: 2
node: { log_level: loud, lables: {} }
units:
  api:
    prots: {}
    run: ["./api", "{port.grpc}", "\${TOKEN}"]
    replicas: many
    depends_on: [dbb, worker]
  api:
    run: y
  worker:
    kind: unmanaged
    run: ./worker
    depends_on: { api: {}, db: { timeout: 5 } }
  db:
    kind: integrated
    run: ./db
    activation: manual
    idle: {}
    services: ["orders service"]
`)
  t.equal(failure?.reason, 'CONFIG_INVALID')
  t.equal(failure?.details['faults'], 15)
  t.same(failure?.message.split('\n'), [
    'hsu.yaml:1:10: version: must be 1, not the number 2',
    "hsu.yaml:2:20: node.log_level: must be one of debug, info, warn, error, not 'loud'",
    "hsu.yaml:2:26: node.lables: unknown key; did you mean 'labels'?",
    "hsu.yaml:5:5: units.api.prots: unknown key; did you mean 'ports'?",
    'hsu.yaml:6:20: units.api.run[1]: {port.grpc} is not declared; add grpc to ports',
    'hsu.yaml:6:35: units.api.run[2]: ${TOKEN} is not set; set it in the environment or in .env, or write ${TOKEN:-default}',
    "hsu.yaml:7:15: units.api.replicas: must be a whole number, not 'many'",
    'hsu.yaml:8:5: units.api.depends_on: goes in a circle: api -> worker -> api',
    "hsu.yaml:8:18: units.api.depends_on[0]: no unit 'dbb'; did you mean 'db'?",
    'hsu.yaml:9:3: units.api: is there twice; the first is at line 4; rename or remove one',
    'hsu.yaml:11:3: units.worker.find: is required for an unmanaged unit',
    'hsu.yaml:13:10: units.worker.run: an unmanaged unit is found, not run; use kind: managed, or remove run',
    'hsu.yaml:14:43: units.worker.depends_on.db.timeout: must be a duration, such as "10s", not the number 5',
    'hsu.yaml:19:5: units.db.idle: has no meaning for activation: manual; use on-call or always',
    'hsu.yaml:20:16: units.db.services[0]: must be a full gRPC service name, such as shop.v1.Orders',
  ])
})

t.test('a message names at most a hundred faults, and says how many more there are', async (t) => {
  const keys = Array.from({ length: 150 }, (_, index) => `zzz${index}: 1`)
  const faults = await faultsOf(file(keys.join('\n')))
  t.equal(faults.length, 101)
  t.equal(faults.at(-1), 'and 50 more faults')
})

t.test('what this version lacks is refused by name', async (t) => {
  const cases: readonly (readonly [text: string, fault: string])[] = [
    [unit('expose: lan'), 'hsu.yaml:5:13: units.api.expose: lan is not supported by this version (0.1.0); use private'],
    [
      unit('activation: on-call\npartition: { replace_after: 10s }'),
      'hsu.yaml:6:33: units.api.partition.replace_after: beside activation: on-call is not supported by this version (0.1.0); a unit that sleeps is not kept to one node yet, so let it always run',
    ],
    [
      unit('idle: { stop_after: 10m }\npartition: { replace_after: 10s }'),
      'hsu.yaml:6:33: units.api.partition.replace_after: beside idle is not supported by this version (0.1.0); a unit that sleeps is not kept to one node yet, so let it always run',
    ],
  ]
  for (const [text, fault] of cases) {
    const failure = await failureOf(text)
    t.equal(failure?.message, fault)
    t.equal(failure?.reason, 'UNSUPPORTED')
  }
  t.equal((await failureOf(unit('expose: lan\nprots: {}')))?.reason, 'CONFIG_INVALID', 'a fault besides')
  t.same(await faultsOf(unit('activation: always\npartition: { replace_after: 10s }')), [])
  t.same(await faultsOf(file('units: { dns: { kind: unmanaged, find: { port: udp/53 } } }')), [])
})

t.test('what is taken without effect is a warning', async (t) => {
  const { warnings } = await load(
    file(`units:
  api:
    run: x
    replicas: 2
    ports: { http: 8080, grpc: auto }
  db: { run: y, limits: { memory: 1GiB } }
`),
  )
  t.same(warnings, [
    'hsu.yaml:6:14: units.api.ports.http: all 2 replicas get port 8080; use auto, unless the program shares its port (SO_REUSEPORT)',
  ])
})

t.test('values arrive as the floors want them, and never change', async (t) => {
  const { config } = await load(
    unit(
      `env: { VERSION: 1.10, DEBUG: true, OCTAL: 007, EMPTY: "" }
env_inherit: [PATH]
stop: { grace: 1m, signal: INT }
restart: { backoff: 1s..2m, jitter: 50%, give_up: 3/1m, then: stop }
logs: { max_size: 1MiB }
probes: { ready: { tcp: 5432, exec: ~ } }`.replace(', exec: ~', ''),
    ),
  )
  const { api } = config.units
  t.same(api?.env, { VERSION: '1.10', DEBUG: 'true', OCTAL: '007', EMPTY: '' }, 'as written, not as YAML reads numbers')
  t.match(api?.stop, { graceMs: undefined, grace: 60_000, signal: 'SIGINT', drain: 5_000 })
  t.same(api?.restart.backoff, { minMs: 1_000, maxMs: 120_000 })
  t.match(api?.restart, { jitter: 0.5, give_up: { crashes: 3, windowMs: 60_000 }, then: { retryMs: undefined } })
  t.equal(api?.logs.max_size, 1_048_576)
  t.equal(api?.probes.ready?.tcp, '5432')
  t.ok(Object.isFrozen(config) && Object.isFrozen(api?.env) && Object.isFrozen(api?.env_inherit))
  t.equal(config.mesh, undefined)
  t.equal(
    (await load({ files: { 'hsu.yaml': 'version: 1' }, hostname: 'my_host.local.' })).config.node.name,
    'my_host.local',
  )
  t.equal((await load({ files: { 'hsu.yaml': 'version: 1' }, hostname: 'größe' })).config.node.name, 'gr--e')
})

t.test('numbers may stand in a command', async (t) => {
  const { config } = await load(file('units: { a: { run: [sleep, 60, 1.50, true] }, b: { run: "sleep  \'6 0\'" } }'))
  t.same(config.units['a']?.run, ['sleep', '60', '1.50', 'true'])
  t.same(config.units['b']?.run, ['sleep', '6 0'])
})

t.test('what loading takes for a template is what a start fills in', async (t) => {
  const words = [
    '{data_dir}',
    '{unit.nam}',
    '{print}',
    '{{x}}',
    '{"a":1}',
    '{}',
    '{port.x}',
    '{A}',
    '${replica}',
    '{node.name}}',
    '{a.b.c}',
  ]
  for (const word of words) {
    const faults = await faultsOf(file(`units: { a: { run: x, env: { V: '${word.replaceAll('$', '$$$$')}' } } }`))
    const known = { 'unit.name': '', 'unit.instance': '', replica: '', 'node.name': '', data_dir: '' }
    const refused = await Promise.resolve(word)
      .then((text) => expandTemplates(text, known))
      .then(
        () => false,
        () => true,
      )
    t.equal(faults.length > 0, refused, word)
  }
})

t.test('the example of the design is right', async (t) => {
  const text = readFileSync(join(repoRoot, 'test/fixtures/design-example.yaml'), 'utf8')
  const { config } = await load(text)
  t.same(config.mesh?.discovery, { mdns: true, seeds: ['10.0.0.5:9471'], interfaces: ['eth0'] })
  t.match(config.units['api'], { kind: 'integrated', replicas: 2, services: ['shop.v1.Orders'], expose: 'private' })
  t.match(config.units['api'], { activation: 'on-call', idle: { stop_after: 600_000, hold: 10_000, min: 0 } })
  t.same(config.units['db']?.find, { name: 'postgres', args: ['-D'] })
})

t.test('no text makes loading throw anything but its own error', async (t) => {
  const seedText = readFileSync(join(repoRoot, 'test/fixtures/design-example.yaml'), 'utf8')
  const piece = fc.constantFrom(
    '{',
    '}',
    '[',
    ']',
    ':',
    ' ',
    '\n',
    '  ',
    '- ',
    '&a',
    '*a',
    '<<: ',
    '"',
    "'",
    '$',
    '${',
    '!',
    '|',
    '#',
    '\t',
    '~',
    '1',
    'null',
    '? ',
    '\u0000',
    '\u2028',
  )
  const edit = fc.record({ at: fc.nat(seedText.length), cut: fc.nat(40), piece })
  await fc.assert(
    fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 4 }), async (edits) => {
      let text = seedText
      for (const { at, cut, piece } of edits) text = text.slice(0, at) + piece + text.slice(at + cut)
      for (const line of await faultsOf(text)) if (!/^hsu\.yaml:\d+:\d+: ./.test(line)) t.fail(line)
    }),
    { numRuns: 150, seed: 7 },
  )
})
