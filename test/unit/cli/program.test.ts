import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { HsuError, REASONS, type Reason } from '../../../src/base/error.ts'
import { VERSION } from '../../../src/base/version.ts'
import { COMMANDS } from '../../../src/cli/commands.ts'
import { errorLine } from '../../../src/cli/error-line.ts'
import { EXIT_CODES, exitCodeOf } from '../../../src/cli/exit-codes.ts'
import { sinkOf } from '../../../src/cli/sink.ts'
import { parseCommandLine } from '../../../src/cli/program.ts'
import { cliReference } from '../../../src/cli/reference.ts'
import { repoRoot } from '../../support/paths.ts'
import { throwsReason } from '../../support/throws-reason.ts'
import { hsu, unit, unitsOf } from './fake-world.ts'

const visible = COMMANDS.filter(({ hidden }) => hidden !== true)

function parsed(...argv: string[]) {
  const invocation = parseCommandLine(argv, COMMANDS)
  if (invocation.kind !== 'run') throw new Error(`not a command but: ${invocation.text}`)
  return { name: invocation.command.name, ...invocation.input, global: invocation.global }
}

t.test('the command line', async (t) => {
  t.test('global options stand before or after the name of the command', async (t) => {
    const before = parsed('--node', 'b', '-o', 'json', '--timeout', '5s', '--data-dir', '/d', 'ps', 'echo')
    const after = parsed('ps', '--node', 'b', 'echo', '-o', 'json', '--timeout=5s', '--data-dir=/d')
    t.same(before.global, { node: 'b', dataDir: '/d', format: 'json', wide: false, timeoutMs: 5_000 })
    t.same(after.global, before.global)
    t.same([before.name, before.args], ['ps', ['echo']])
    t.same(parsed('ps').global, {
      node: undefined,
      dataDir: undefined,
      format: 'text',
      wide: false,
      timeoutMs: undefined,
    })
    t.match(parsed('ps', '-o', 'wide').global, { format: 'text', wide: true })
  })

  t.test('options come with the long name in camel case, repeated ones as a list', async (t) => {
    const { options } = parsed('logs', '-fn', '10', '--since', '5m', '-g', '-x', 'a', 'b')
    t.match(options, { follow: true, tail: '10', since: '5m', grep: '-x' })
    t.match(parsed('up', '-f', 'a.yaml', '-f', 'b.yaml', '-d').options, { file: ['a.yaml', 'b.yaml'], detach: true })
    t.match(parsed('call', 'a.B/C', '{"x":-1}', '--metadata', 'k=v'), { args: ['a.B/C', '{"x":-1}'] })
  })

  t.test('a command of two words is found, and --version is one', async (t) => {
    t.equal(parsed('config', 'show').name, 'config show')
    t.equal(parsed('mesh', 'create', '--out', 'k').name, 'mesh create')
    t.equal(parsed('--version').name, 'version')
  })

  t.test('a mistake is USAGE, on one line, with the help that tells more', async (t) => {
    const mistakes: [argv: string[], message: RegExp][] = [
      [['frobnicate'], /unknown command 'frobnicate'; see `hsu --help`/],
      [['ps', '--bogus'], /unknown option '--bogus'; see `hsu ps --help`/],
      [['start'], /missing required argument 'unit'; see `hsu start --help`/],
      [
        ['wait', 'a', '--for', 'lunch'],
        /Allowed choices are ready, up, down, completed, failed; see `hsu wait --help`/,
      ],
      [['ps', '-o', 'yaml'], /Allowed choices are json, text, wide; see/],
      [['down', 'now'], /too many arguments/],
      [['ps', '--timeout', 'soon'], /--timeout: 'soon' is not a duration/],
      [['statr', 'a'], /Did you mean start\?/],
    ]
    for (const [argv, message] of mistakes) {
      const error = await throwsReason(t, 'USAGE', () => parseCommandLine(argv, COMMANDS))
      t.match(error?.message, message)
      t.notMatch(error?.message, /\n/)
    }
  })

  t.test(
    'help that was asked for goes to stdout and exits 0; help for lack of a command to stderr and exits 2',
    async (t) => {
      const asked = await hsu('--help')
      t.equal(asked.code, 0)
      t.equal(asked.stderr, '')
      for (const { name } of visible) t.match(asked.stdout, new RegExp(`^  ${name.split(' ')[0] ?? ''} `, 'm'))
      t.notMatch(asked.stdout, /^ {2}drain /m)
      t.match(await hsu('help'), { code: 0 })
      t.match(await hsu('wait --help'), { code: 0, stdout: /--for <condition>[^]*--node <name>[^]*Examples:/ })
      t.match(await hsu(''), { code: 2, stdout: '', stderr: /Usage: hsu/ })
      t.match(await hsu('config'), { code: 2, stdout: '', stderr: /validate/ })
    },
  )

  t.test('what is not there yet says so by name', async (t) => {
    for (const line of ['drain a', 'mesh leave']) {
      const { code, stderr } = await hsu(line)
      t.equal(code, 1, line)
      t.match(stderr, new RegExp(`^hsu: hsu .* is not there yet in ${VERSION.replaceAll('.', '[.]')}; .*\n$`))
    }
  })
})

t.test('exit codes', async (t) => {
  t.test('every reason has one of the documented codes', async (t) => {
    const expected: Record<number, Reason[]> = {
      2: ['USAGE', 'CONFIG_INVALID'],
      3: ['NOT_STARTED', 'NO_ENDPOINT', 'UNIT_FAILED', 'NODE_DRAINING'],
      4: ['UNIT_NOT_FOUND', 'RUN_NOT_FOUND', 'NODE_NOT_FOUND', 'SERVICE_NOT_FOUND', 'PROCESS_NOT_FOUND'],
      5: ['NODE_UNREACHABLE'],
      124: ['TIMED_OUT'],
      130: ['CANCELLED'],
    }
    for (const reason of Object.keys(REASONS) as Reason[]) {
      const code = Object.entries(expected).find(([, reasons]) => reasons.includes(reason))?.[0] ?? '1'
      t.equal(String(exitCodeOf(new HsuError(reason, 'x'))), code, reason)
    }
    t.same(Object.keys(EXIT_CODES), ['0', '1', '2', '3', '4', '5', '124', '130'])
  })

  t.test('an error is one line on stderr; only faults of a configuration have one each', async (t) => {
    const line = (reason: Reason, message: string): string => errorLine(new HsuError(reason, message))
    const full = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' })
    t.match(errorLine(HsuError.from(full)), /^hsu: ENOSPC: .*; the disk is full: make room below the data directory/)
    t.equal(line('SPAWN_FAILED', 'cannot run /opt/db:\n  ENOENT'), 'hsu: cannot run /opt/db:; ENOENT')
    t.equal(line('UNIT_NOT_FOUND', "no unit 'x'"), "hsu: no unit 'x'; `hsu ps` lists the units of the whole mesh")
    t.equal(line('NOT_STARTED', 'nobody; start one with `hsu up`'), 'hsu: nobody; start one with `hsu up`')
    t.equal(line('CONFIG_INVALID', 'a.yaml:1:2: bad\na.yaml:3:4: worse'), 'hsu: a.yaml:1:2: bad\na.yaml:3:4: worse')
  })

  t.test('what fails anywhere becomes its line and its code', async (t) => {
    const failing = (error: unknown) => ({
      client: {
        listNodes: async () => {
          throw error
        },
      },
    })
    t.match(await hsu('nodes', failing(new HsuError('NODE_UNREACHABLE', 'no answer'))), {
      code: 5,
      stderr: /^hsu: no answer; /,
    })
    t.match(await hsu('nodes', failing(new HsuError('TIMED_OUT', 'late'))), { code: 124 })
    t.match(await hsu('nodes', failing(new TypeError('boom'))), {
      code: 1,
      stderr: /^hsu: boom; this is a fault in HSU/,
    })
    t.match(
      await hsu('nodes', { ...failing(new TypeError('boom')), world: { env: { HSU_DEBUG: '1' } } }),
      { stderr: /at .*program[.]test/ },
      'the stack is there for who wants it',
    )
  })

  t.test('an interrupted command exits 130 and says nothing', async (t) => {
    const stop = new AbortController()
    const client = {
      listNodes: async () => {
        stop.abort(new HsuError('CANCELLED', 'interrupted'))
        throw new HsuError('CANCELLED', 'interrupted')
      },
    }
    t.match(await hsu('nodes', { client, world: { signal: stop.signal } }), { code: 130, stdout: '', stderr: '' })
  })

  t.test('a reader that left early ends it quietly', async (t) => {
    const stdout = async (): Promise<void> => {
      throw Object.assign(new Error('write EPIPE'), { code: 'EPIPE' })
    }
    t.match(await hsu('version', { world: { stdout } }), { code: 0, stderr: '' })
  })
})

t.test('a sink waits until a chunk was taken, and reports a broken pipe to who wrote', async (t) => {
  const listeners: string[] = []
  const stream = (outcome: Error | undefined) =>
    ({
      on: (event: string) => listeners.push(event),
      write: (_chunk: unknown, done: (error?: Error) => void) => done(outcome),
    }) as unknown as NodeJS.WritableStream
  await sinkOf(stream(undefined))('text')
  await t.rejects(sinkOf(stream(new Error('EPIPE')))('text'), { message: 'EPIPE' })
  t.same(listeners, ['error', 'error'], 'an error event alone does not end the process')
})

t.test('the node on this host is found', async (t) => {
  const client = { listNodes: async () => ({ nodes: [] }) }
  const env = { HSU_CONTROL: '/from/env.sock' }
  t.match(await hsu('nodes', { client }), { opened: ['/data/run/control.sock'], closed: 1 })
  t.match(await hsu('nodes --data-dir /other', { client }), { opened: ['/other/run/control.sock'] })
  t.match(await hsu('nodes', { client, world: { env } }), { opened: ['/from/env.sock'] }, 'as every unit finds it')
  t.match(
    await hsu('nodes --data-dir /other', { client, world: { env } }),
    { opened: ['/other/run/control.sock'] },
    'what is typed wins',
  )
})

t.test('docs/cli.md has every command with its options, and the shapes', async (t) => {
  const text = cliReference()
  for (const { name, options } of visible) {
    t.match(text, `## hsu ${name}\n`)
    for (const { flags } of options) t.match(text, flags)
  }
  t.match(text, /\| 124 \| timed out \|/)
  t.notMatch(text, /## hsu drain/)
  t.match(text, /- `hsu drain`/)
  t.equal(cliReference(), text)
})

t.test('the version is that of the package', async (t) => {
  const manifest = JSON.parse(readFileSync(join(repoRoot, 'package.json'), 'utf8')) as { version: string }
  t.equal(VERSION, manifest.version)
  t.match(JSON.parse((await hsu('version -o json')).stdout), { version: VERSION, node: process.versions.node })
  t.match((await hsu('version')).stdout, `hsu ${VERSION} (Node.js `)
})

t.test('completion', async (t) => {
  for (const shell of ['bash', 'zsh', 'fish']) {
    const { stdout } = await hsu(`completion ${shell}`)
    for (const { name } of visible) t.ok(stdout.includes(name.split(' ').at(-1) ?? ''), `${shell}: ${name}`)
    t.notMatch(stdout, /-a leave\b|restore leave\b/)
  }
  t.match(await hsu('completion tcsh'), { code: 2 })

  const skip = spawnSync('bash', ['--version']).status === 0 ? false : 'no bash here'
  t.test('of bash works', { skip }, async (t) => {
    const directory = t.testdir({})
    const script = join(directory, 'hsu.bash')
    writeFileSync(script, (await hsu('completion bash')).stdout)
    const complete = (...words: string[]): string[] => {
      const array = words.map((word) => `'${word}'`).join(' ')
      const lines = `hsu() { printf 'UNIT NODE\\nechoes a\\necho b\\n'; }; source ${script}; COMP_WORDS=(hsu ${array}); COMP_CWORD=${words.length}; _hsu; printf '%s\\n' "\${COMPREPLY[@]}"`
      const { stdout, stderr } = spawnSync('bash', ['-c', lines], { encoding: 'utf8' })
      t.equal(stderr, '')
      return stdout.split('\n').filter((line) => line !== '')
    }
    t.same(complete('sta'), ['start'])
    t.same(complete('config', ''), ['validate', 'show', 'schema'])
    t.same(complete('logs', '--str'), ['--stream'])
    t.same(complete('logs', '--stream', ''), ['stdout', 'stderr'])
    t.same(complete('wait', 'x', '--for', 'f'), ['failed'])
    t.same(complete('--node', 'b', 'restart', 'echo'), ['echo', 'echoes'])
    t.same(complete('completion', ''), ['bash', 'zsh', 'fish'])
  })
})

t.test('a table that a terminal shows is coloured, one in a pipe is not', async (t) => {
  const client = { listUnits: unitsOf('edge-a', [unit()]) }
  const plain = await hsu('ps', { client })
  const coloured = await hsu('ps', { client, world: { isTty: true } })
  const refused = await hsu('ps', { client, world: { isTty: true, env: { NO_COLOR: '1' } } })
  t.notMatch(plain.stdout, '\u001B')
  t.match(coloured.stdout, '\u001B[32mup')
  t.equal(refused.stdout, plain.stdout)
})
