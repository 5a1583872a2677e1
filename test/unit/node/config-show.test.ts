import fc from 'fast-check'
import t from 'tap'
import { stringify } from 'yaml'
import { configReference, describeConfig, jsonSchema } from '../../../src/node/config/index.ts'
import { load } from '../../support/config.ts'

t.test('show prints what is in force, with the origin of each value', async (t) => {
  const loaded = await load({
    files: {
      'hsu.yaml': 'version: 1\nunits:\n  db:\n    kind: unmanaged\n    find: { name: postgres, args: ["-D"] }\n',
    },
    env: { HSU_LOG_LEVEL: 'warn' },
  })
  const { yaml, json } = describeConfig(loaded)
  t.equal(
    yaml,
    `version: 1 # hsu.yaml:1:10
node:
  name: edge-a # default
  labels: {} # default
  listen:
    ingress: 127.0.0.1:9470 # default
    mesh: 0.0.0.0:9471 # default
    link: 0.0.0.0:9472 # default
    admin: 127.0.0.1:9473 # default
    xds: 127.0.0.1:9474 # default
  events:
    max_size: 16MiB # default
    max_age: 30d # default
  access_log:
    to: off # default
    sample: 100% # default
    max_size: 64MiB # default
    keep: 5 # default
  log_level: warn # env HSU_LOG_LEVEL
units:
  db:
    kind: unmanaged # hsu.yaml:4:11
    ports: {} # default
    probes: {} # default
    limits:
      warn: 80% # default
      spike: 5s # default
      sustained: 30s # default
      raise_factor: 1.5 # default
    find:
      name: postgres # hsu.yaml:5:19
      args: [ -D ] # hsu.yaml:5:35
    allow:
      signal: false # default
    checks: {} # default
    expose: private # default
`,
  )
  t.equal(json.origins['units.db.find.name'], 'hsu.yaml:5:19')
  t.match(json.config, { node: { log_level: 'warn' }, units: { db: { find: { args: ['-D'] } } } })
})

const letters = fc.stringMatching(/^[a-z][a-z0-9-]{0,8}[a-z0-9]$/)
/** Braces would be templates, which have tests of their own. */
const anyText = fc
  .oneof(
    fc.string({ unit: 'grapheme', maxLength: 12 }),
    fc.constantFrom(
      '${A}',
      '$$',
      '$',
      '1.10',
      '007',
      'null',
      '~',
      'true',
      ' x ',
      'a: b',
      '# c',
      '- d',
      'x\ny\n',
      '\tz',
      '"',
      "'",
      '<<',
      '0x1f',
      '',
    ),
  )
  .map((text) => text.replaceAll(/[{}\0]/g, '('))
const durations = fc.constantFrom('250ms', '10s', '5m', '1.5h', '7d')
const some = <T>(shape: { [K in keyof T]: fc.Arbitrary<T[K]> }) => fc.record(shape, { requiredKeys: [] })

const owned = some({
  run: fc.array(anyText, { minLength: 1, maxLength: 3 }),
  cwd: anyText,
  env: fc.dictionary(letters, fc.oneof(anyText, fc.integer(), fc.boolean()), { maxKeys: 3 }),
  ports: fc.dictionary(fc.stringMatching(/^[a-z]{1,4}$/), fc.constantFrom('auto', 80), { maxKeys: 2 }),
  replicas: fc.nat(3),
  stop: some({ grace: durations, signal: fc.constantFrom('TERM', 'SIGINT') }),
  probes: some({
    ready: fc.record({
      exec: fc.array(
        anyText.filter((text) => text !== ''),
        { minLength: 1, maxLength: 2 },
      ),
      every: durations,
    }),
    live: fc.oneof(
      fc.record({ tcp: fc.nat(65_535) }),
      fc.record({ http: fc.constant({ url: 'http://x/', headers: { A: 'b $$' } }) }),
    ),
  }),
  restart: some({
    backoff: fc.constant('1s..1m'),
    give_up: fc.constant('3/1m'),
    then: fc.constantFrom('stop', 'retry 1m'),
  }),
  logs: some({ max_size: fc.constantFrom('1MB', '64MiB') }),
})
const unit = fc.oneof(
  owned.map((part) => ({ run: ['x'], ...part })),
  owned.map((part) => ({ run: 'x "y z"', ...part, kind: 'integrated', services: ['a.v1.B'] })),
  fc.constant({ kind: 'unmanaged', find: { port: 'tcp/5432' }, allow: { signal: true } }),
)
const file = fc.record({
  version: fc.constant(1),
  node: some({ labels: fc.dictionary(letters, anyText, { maxKeys: 3 }), log_level: fc.constantFrom('debug', 'error') }),
  units: fc.dictionary(letters, unit, { maxKeys: 3 }),
})

/** As a person would have to write it: a dollar that is not a variable is doubled. */
const written = (value: unknown): string =>
  stringify(JSON.parse(JSON.stringify(value).replaceAll(/\$/g, '$$$$')), { aliasDuplicateObjects: false })

t.test('what show prints loads again to the same configuration', async (t) => {
  await fc.assert(
    fc.asyncProperty(file, async (value) => {
      const first = await load(written(value))
      const second = await load(describeConfig(first).yaml)
      t.same(second.config, first.config)
      t.same(second.effective, first.effective)
      for (const [name, unit] of Object.entries(value.units)) {
        const env = (unit as { env?: Record<string, unknown> }).env ?? {}
        for (const [key, text] of Object.entries(env)) t.equal(first.config.units[name]?.env[key], String(text))
      }
    }),
    { numRuns: 60, seed: 11 },
  )
})

t.test('the JSON Schema closes every map and describes every key', async (t) => {
  const schema = jsonSchema()
  t.match(schema, { $schema: 'https://json-schema.org/draft/2020-12/schema', $id: 'urn:hsu:config:1', type: 'object' })
  t.same(schema['required'], ['version'])
  const visit = (value: unknown, path: string): void => {
    if (typeof value !== 'object' || value === null) return
    const map = value as Record<string, unknown>
    if (map['properties'] !== undefined) {
      t.equal(map['additionalProperties'], false, `${path} is closed`)
      for (const [key, child] of Object.entries(map['properties'] as Record<string, Record<string, unknown>>)) {
        // The keys of other floors are described by those floors.
        if (!/mesh|route/.test(path)) t.ok(child['description'], `${path}.${key} is described`)
      }
    }
    const target = map['$ref']
    if (typeof target === 'string') t.ok((schema['$defs'] as object)[target.slice(8) as never], `${target} is there`)
    for (const [key, child] of Object.entries(map)) visit(child, `${path}/${key}`)
  }
  visit(schema, '#')
  const { units } = schema['properties'] as { units: { additionalProperties: { properties: Record<string, object> } } }
  t.match(units.additionalProperties.properties['replicas'], {
    default: 1,
    anyOf: [{ type: 'integer', minimum: 0, maximum: 1_000 }, { $ref: '#/$defs/variable' }],
  })
  t.match(units.additionalProperties.properties['extends'], { anyOf: [{ type: 'string' }, { type: 'object' }] })
})

t.test('the reference has a row for every key, and names what is refused', async (t) => {
  const text = configReference()
  const keys = text.match(/^\| `[a-z_]+` \|/gm) ?? []
  t.ok(keys.length > 70, `${keys.length} keys`)
  t.match(text, /^\| `grace` \| duration \| `10s` \| Time from asking for the end to the kill \|$/m)
  t.match(text, /^\| `kind` \| `managed`, `unmanaged`, `integrated` \| `managed` \|/m)
  t.match(text, /^- `expose: lan`$/m)
})

t.test('show tells the names of the headers of logs.forward, and hides their values', async (t) => {
  const loaded = await load(
    stringify({
      version: 1,
      units: {
        api: {
          kind: 'managed',
          run: ['api'],
          logs: { forward: [{ otlp: 'http://127.0.0.1:4318', headers: { authorization: 'Bearer s3cret' } }] },
        },
      },
    }),
  )
  const { yaml, json } = describeConfig(loaded)
  t.notMatch(`${yaml}${JSON.stringify(json)}`, 's3cret')
  t.match(yaml, 'authorization: (hidden)')
  const { forward } = loaded.config.units['api']?.logs ?? {}
  t.same(forward?.[0]?.headers, { authorization: 'Bearer s3cret' }, 'the node itself knows it')
})

t.test('a password in the address of a collector is refused, because addresses are told in events', async (t) => {
  const forward = [{ otlp: 'http://me:s3cret@127.0.0.1:4318' }]
  const units = { api: { kind: 'managed', run: ['api'], logs: { forward } } }
  const refused = load(stringify({ version: 1, units }))
  await t.rejects(refused, { message: /write it into headers/ })
})

t.test('the reference tells the keys of what is listed', async (t) => {
  t.match(
    configReference(),
    /## units\.NAME\.logs\.forward\[\]\n\nWhere its lines are sent too\.\n[\s\S]*\| `headers` \|/,
  )
})
