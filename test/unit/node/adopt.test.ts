import t from 'tap'
import { adoptionOf } from '../../../src/node/config/adopt.ts'
import { isNoise, redact } from '../../../src/node/config/secrets.ts'
import type { Portrait } from '../../../src/process/portrait.ts'
import { load } from '../../support/config.ts'

const portrait = (changed: Partial<Portrait> = {}): Portrait => ({
  identity: { pid: 4711, startTime: '1', bootId: 'b' },
  argv: ['/usr/bin/app'],
  rewritten: false,
  orphan: false,
  cwd: '/srv/app',
  env: {},
  user: 'root',
  ownUser: true,
  listeners: [],
  ...changed,
})

t.test('the configuration loads, and says what the process was', async (t) => {
  const argv = [
    '/usr/bin/app',
    'two words',
    '"quoted"',
    "it's",
    '$HOME',
    '${HOME}',
    'grüße',
    '60',
    '',
    ' edge ',
    'a\nb',
    '{"json": 1}',
  ]
  const env = { PATH: '/bin', HOME: '/home/app', PRICE: '${5} and $5', LINES_OF: 'a\tb', 'odd.name': 'x', YES: 'yes' }
  const { yaml, notes } = adoptionOf('app', portrait({ argv, env, user: 'svc', ownUser: false }))
  const { config } = await load(yaml)
  const unit = config.units['app']
  t.match(unit, { kind: 'managed', cwd: '/srv/app', user: 'svc', env_inherit: [], ports: {} })
  t.same(unit?.run, argv)
  t.same(unit?.env, env)
  t.match(notes.join('\n'), /end process 4711 before/)
  t.match(notes.join('\n'), /needs a node that runs as root/)
})

t.test('secrets are named and left out, wherever they stand', async (t) => {
  const argv = [
    '/usr/bin/app',
    '--password=hunter2',
    '--token',
    'abcdef1234',
    'redis://u:swordfish@h/0',
    '--key-file=/etc/k',
  ]
  const env = {
    DB_PASSWORD: 'hunter2',
    AWS_SECRET_ACCESS_KEY: 'wJalrXUtnFEMI',
    LINK: 'https://bob:swordfish@example.org',
    'npm_config_//registry/:_authToken': 'npmtoken1',
    TLS_KEY: '/etc/tls/key.pem',
    PLAIN: 'x',
  }
  const { yaml, notes } = adoptionOf('app', portrait({ argv, env }))
  t.notMatch(yaml, /hunter2|abcdef1234|swordfish|wJalr|npmtoken1/)
  t.notMatch(notes.join(), /hunter2|abcdef1234|swordfish|wJalr|npmtoken1/)
  t.match(yaml, /PLAIN: x\n/)
  t.match(yaml, /TLS_KEY: \/etc\/tls\/key\.pem\n/, 'where one lies is no secret')
  t.match(yaml, /--key-file=\/etc\/k/)
  for (const name of ['DB_PASSWORD', 'AWS_SECRET_ACCESS_KEY', 'LINK']) {
    t.match(yaml, new RegExp(`${name}: \\$\\{${name}:-\\} # a secret`))
    t.match(notes.join('\n'), new RegExp(`${name} looks like a secret`))
  }
  const filled = { PASSWORD: 'p', TOKEN: 'q', ARGUMENT_4: 'r', DB_PASSWORD: 's' }
  const { config } = await load({ files: { 'hsu.yaml': yaml }, env: filled })
  t.same(config.units['app']?.run, ['/usr/bin/app', '--password=p', '--token', 'q', 'r', '--key-file=/etc/k'])
  t.match(config.units['app']?.env, { DB_PASSWORD: 's', LINK: '' })
})

t.test('what a shell, a login or a node put into the environment is not of the program', async (t) => {
  for (const name of ['_', 'SHLVL', 'PWD', 'SSH_CLIENT', 'XDG_SESSION_ID', 'INVOCATION_ID', 'HSU_UNIT'])
    t.ok(isNoise(name), name)
  for (const name of ['PATH', 'HOME', 'PORT', 'PYTHONUNBUFFERED', 'XDG_CONFIG_HOME', 'TERMINUS'])
    t.notOk(isNoise(name), name)
  t.notMatch(adoptionOf('app', portrait({ env: { SHLVL: '2', A: 'b' } })).yaml, /SHLVL/)
})

t.test('ports it listens on are fixed ports; those the system chose are only told', async (t) => {
  const listeners = [
    { protocol: 'tcp', address: '0.0.0.0', port: 80 },
    { protocol: 'tcp', address: '::', port: 80 },
    { protocol: 'udp', address: '0.0.0.0', port: 53 },
    { protocol: 'tcp', address: '127.0.0.1', port: 41_000 },
    { protocol: 'tcp', address: '127.0.0.1', port: 42_000 },
  ] as const
  const { yaml, notes } = adoptionOf('app', portrait({ listeners, env: { PORT: '41000' } }))
  const { config } = await load(yaml)
  t.same(Object.entries(config.units['app']?.ports ?? {}), [
    ['tcp41000', 41_000],
    ['tcp80', 80],
    ['udp53', 53],
  ])
  t.match(notes.join('\n'), /tcp 127\.0\.0\.1 port 42000, which seems to be chosen by the system/)
})

t.test('what cannot be told for sure is said', async (t) => {
  t.match(adoptionOf('app', portrait({ rewritten: true })).notes[0], /hides how it was called/)
  t.match(adoptionOf('app', portrait({ argv: ['/a', '{replica}'] })).notes[0], /read as a template/)
})

t.test('a secret is told by its name or by its form, and its place is none', async (t) => {
  const cases: [name: string, value: string, secret: boolean][] = [
    ['GITHUB_TOKEN', 'x1', true],
    ['API_KEY', 'abc', true],
    ['MYSQL_PWD', 'abc', true],
    ['HARMLESS', `ghp_${'a'.repeat(36)}`, true],
    ['CERT', '-----BEGIN RSA PRIVATE KEY-----', true],
    ['SSH_AUTH_SOCK', '/run/agent', false],
    ['USE_TOKEN', 'true', false],
    ['KEYBOARD', 'de', false],
    ['AUTHOR', 'anna', false],
    ['DATABASE_URL', 'postgres://localhost/x', false],
  ]
  for (const [name, value, secret] of cases) t.equal(redact.variable(name, value), secret, `${name}=${value}`)
})

t.test(
  'a program that goes into the background by itself is told to stay, and how it ends in good order',
  async (t) => {
    const unitOf = async (argv: readonly string[]) =>
      (await load(adoptionOf('app', portrait({ argv })).yaml)).config.units['app']
    t.match(await unitOf(['/usr/sbin/nginx', '-c', '/n.conf']), {
      run: ['/usr/sbin/nginx', '-c', '/n.conf', '-g', 'daemon off;'],
      stop: { signal: 'SIGQUIT' },
    })
    t.match(await unitOf(['/usr/bin/redis-server', '/r.conf']), {
      run: ['/usr/bin/redis-server', '/r.conf', '--daemonize', 'no'],
    })
    t.match(await unitOf(['/usr/lib/postgresql/15/bin/postgres', '-D', '/d']), { stop: { signal: 'SIGINT' } })
  },
)

t.test('of others it is only said that they may', async (t) => {
  const notes = (changed: Partial<Portrait>): string => adoptionOf('app', portrait(changed)).notes.join('\n')
  t.match(notes({ orphan: true }), /its parent is process 1/)
  t.notMatch(notes({ orphan: false }), /its parent is process 1/)
})
