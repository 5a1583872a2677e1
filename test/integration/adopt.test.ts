import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { fixture } from '../support/paths.ts'
import { nodeHome } from '../support/spawned-node.ts'
import { stranger } from '../support/stranger.ts'
import { until } from '../support/until.ts'

const onLinux = process.platform === 'linux' ? {} : { skip: 'reads /proc' }

interface Launch {
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly cwd: string
  readonly pid: number
}

t.test(
  'what adopt writes is valid, tells no secret, and starts an equal process',
  { ...onLinux, timeout: 120_000 },
  async (t) => {
    const { home, node: makeNode } = nodeHome(t)
    const config = { version: 1, node: { name: 'n', listen: { ingress: '127.0.0.1:0' } } }
    const node = makeNode('n', { config })
    const [report, cwd] = [join(home, 'report.json'), join(home, 'its own directory')]
    mkdirSync(cwd)
    const odd = [
      'two words',
      '"quoted"',
      "it's",
      '$HOME',
      '${HOME}',
      '# no comment',
      '',
      'grüße',
      '--token',
      'sesame-1',
    ]
    const env = {
      PATH: process.env['PATH'] ?? '',
      GREETING: 'hello $USER: "you"',
      EMPTY: '',
      LINES_OF_TEXT: 'one\ntwo',
      DB_PASSWORD: 'sesame-2',
      DATABASE_URL: 'postgres://app:sesame-3@db/app',
      SSL_KEY_FILE: '/etc/ssl/app.key',
    }
    const command = [process.execPath, fixture('show-launch.mjs'), report, ...odd]
    const server = await stranger(t, command, { cwd, env, silent: true })
    const launch = (): Launch | undefined => {
      try {
        return JSON.parse(readFileSync(report, 'utf8')) as Launch
      } catch {
        return undefined
      }
    }
    const before = await until('the program to report', launch)

    await node.start()
    t.equal((await node.hsu('attach', 'app', '--pid', String(server.pid))).code, 0)
    const file = join(home, 'n', 'app.yaml')
    const adopted = await node.hsu('adopt', 'app', '--out', 'app.yaml')
    t.match(adopted, { code: 0, stdout: /wrote .*app[.]yaml/ })
    t.match(adopted.stderr, /DB_PASSWORD looks like a secret/)
    t.match(adopted.stderr, new RegExp(`end process ${server.pid} before`))
    t.equal(statSync(file).mode & 0o777, 0o600)
    const yaml = readFileSync(file, 'utf8')
    t.notMatch(yaml + adopted.stderr, /sesame/)
    t.match(yaml, /SSL_KEY_FILE: \/etc\/ssl\/app[.]key/, 'where a secret lies is none')
    t.match(await node.hsu('config', 'validate', file), { code: 0, stdout: /1 unit/ })
    t.not((await node.hsu('adopt', 'app', '--out', 'app.yaml')).code, 0, 'nothing is overwritten')

    await t.test('the unit it describes is launched as the process was', async (t) => {
      server.kill('SIGKILL')
      await server.ended
      await node.kill()
      const secrets = ['TOKEN=sesame-1', 'DB_PASSWORD=sesame-2', `DATABASE_URL=${env.DATABASE_URL}`]
      writeFileSync(join(home, 'n', '.env'), `${secrets.join('\n')}\n`)
      await node.start('-f', node.configFile, '-f', file)
      const after = await until('the unit to report', () => {
        const seen = launch()
        return seen?.pid === before.pid ? undefined : seen
      })
      t.same(after.args, before.args)
      t.equal(after.cwd, before.cwd)
      t.same(ownOf(after.env), ownOf(before.env))
    })
  },
)

/** Without what HSU adds to the environment of every unit, and the test runner to that of every process. */
function ownOf(env: Readonly<Record<string, string>>): Record<string, string> {
  const added = /^(HSU_|OTEL_|GRPC_XDS|PYTHONUNBUFFERED|_TAPJS_)/
  return Object.fromEntries(Object.entries(env).filter(([name]) => !added.test(name)))
}
