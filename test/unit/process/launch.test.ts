import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { findAccount } from '../../../src/process/accounts.ts'
import { splitCommand } from '../../../src/process/command-line.ts'
import { dependantsOf, findCycle, startOrder } from '../../../src/process/dependencies.ts'
import { resolveExecutable } from '../../../src/process/executable.ts'
import { describeExit, exitOfStatus } from '../../../src/process/exit.ts'
import { launchHash, mainPort } from '../../../src/process/launch.ts'
import { createPortBook } from '../../../src/process/ports.ts'
import { isShimOf, shimArguments } from '../../../src/process/posix-shim.ts'
import { expandTemplates } from '../../../src/process/templates.ts'
import { throwsReason } from '../../support/throws-reason.ts'
import { unitSpec } from '../../support/unit-spec.ts'

t.test('a command line is split as a shell would', async (t) => {
  const cases: [line: string, words: string[]][] = [
    ['a  b\tc', ['a', 'b', 'c']],
    [`'one word' "two \\"words\\"" th\\ ree`, ['one word', 'two "words"', 'th ree']],
    [`''  a""b`, ['', 'ab']],
    ['$HOME *.txt ; x', ['$HOME', '*.txt', ';', 'x']],
  ]
  for (const [line, words] of cases) t.same(splitCommand(line), words, line)
})

t.test('templates', async (t) => {
  const values = { 'unit.name': 'api', 'port.grpc': '9000', replica: '0' }
  t.equal(expandTemplates('{unit.name}:{port.grpc}/{replica}', values), 'api:9000/0')
  for (const text of ['{"a": 1}', '{{name}}', '{ replica }', '{3}', '{}', 'a{2,3}']) {
    t.equal(expandTemplates(text, values), text, `${text} is left alone`)
  }
  const error = await throwsReason(t, 'CONFIG_INVALID', () => expandTemplates('--port={port.http}', values))
  t.match(error?.message, /unknown template \{port\.http\} in '--port=\{port\.http\}'; known here: .*\{port\.grpc\}/)
  await throwsReason(t, 'CONFIG_INVALID', () => expandTemplates('{constructor}', values))
})

t.test('dependencies are ordered, and a cycle is named', async (t) => {
  const unit = (name: string, ...depends_on: string[]) => unitSpec(name, { run: ['x'], depends_on })
  const units = [unit('web', 'api'), unit('api', 'db', 'absent'), unit('db'), unit('lone')]
  t.same(
    startOrder(units).map(({ name }) => name),
    ['db', 'api', 'web', 'lone'],
  )
  t.equal(findCycle(units), undefined)
  t.same(findCycle([unit('x', 'a'), unit('a', 'b'), unit('b', 'c'), unit('c', 'a')]), ['a', 'b', 'c', 'a'])
  t.same(findCycle([unit('self', 'self')]), ['self', 'self'])
  t.equal(startOrder([unit('a', 'b'), unit('b', 'a')]).length, 2, 'a cycle does not hang it')
  t.same(dependantsOf('api', units), ['web'])
})

t.test('a launch is equal unless something changed that a process cannot follow', async (t) => {
  const hash = (raw: Parameters<typeof unitSpec>[1]): string => launchHash(unitSpec('api', raw))
  const base = hash({ run: ['x'] })
  t.equal(hash({ run: 'x', restart: { policy: 'always' }, stop: { grace: '1s' }, replicas: 3 }), base)
  for (const raw of [
    { run: ['y'] },
    { run: ['x'], env: { A: '1' } },
    { run: ['x'], cwd: '/' },
    { run: ['x'], ports: { a: 'auto' as const } },
  ]) {
    t.not(hash(raw), base)
  }
})

t.test('the main port is grpc for an integrated unit, else the first', async (t) => {
  t.equal(mainPort('integrated', { web: 1, grpc: 2 }), 2)
  t.equal(mainPort('integrated', { web: 1 }), 1)
  t.equal(mainPort('managed', { web: 1, grpc: 2 }), 1)
  t.equal(mainPort('managed', {}), undefined)
})

t.test('ports', async (t) => {
  const busy = new Set<number>()
  let next = 100
  const book = createPortBook({ freePort: async () => next++, isPortFree: async (port) => !busy.has(port) })
  const first = await book.assign('api/0', { grpc: 'auto', web: 80 }, {})
  t.same(first, { grpc: 100, web: 80 })
  t.same(await book.assign('api/0', { grpc: 'auto', web: 80 }, first), first, 'kept from run to run')
  busy.add(100)
  t.same(await book.assign('api/0', { grpc: 'auto' }, first), { grpc: 101 }, 'unless somebody took it')
  next = 101
  t.same(await book.assign('api/1', { grpc: 'auto' }, {}), { grpc: 102 }, 'never one of another slot')
  book.claim('old/0', { grpc: 103 })
  t.same(await book.assign('api/2', { grpc: 'auto' }, { grpc: 103 }), { grpc: 104 }, 'nor of an adopted one')
  book.release('old/0')
  t.same(await book.assign('api/3', { grpc: 'auto' }, { grpc: 103 }), { grpc: 103 })
})

t.test('exits', async (t) => {
  t.same([0, 3, 128, 137, 143, 255].map(exitOfStatus), [
    { code: 0 },
    { code: 3 },
    { code: 128 },
    { signal: 'SIGKILL' },
    { signal: 'SIGTERM' },
    { code: 255 },
  ])
  t.equal(describeExit({ signal: 'SIGSEGV' }), 'ended by SIGSEGV')
})

t.test('a shim is recognised by its directory, also where the system runs arguments together', async (t) => {
  const argv = ['/bin/sh', ...shimArguments('/run/my dir/1', ['/bin/serve', '-c'], {})]
  t.ok(isShimOf(argv, '/run/my dir/1'))
  t.ok(isShimOf(argv.join(' ').split(' '), '/run/my dir/1'))
  t.notOk(isShimOf(argv, '/run/my dir/2'))
  t.notOk(isShimOf(argv, '/run/my dir'))
  t.notOk(isShimOf(['grep', '-c', '/run/my dir/1'], '/run/my dir/1'))
})

t.test('users are found by name and by number', async (t) => {
  const passwd = 'root:x:0:0:root:/root:/bin/bash\nsvc:x:990:991::/var/svc:/usr/sbin/nologin\nbroken\n'
  const svc = { name: 'svc', uid: 990, gid: 991, home: '/var/svc', shell: '/usr/sbin/nologin' }
  t.same(findAccount(passwd, 'svc', 'api'), svc)
  t.same(findAccount(passwd, '990', 'api'), svc)
  const error = await throwsReason(t, 'SPAWN_FAILED', () => findAccount(passwd, 'broken', 'api'))
  t.match(error?.message, /unit 'api' as 'broken': no such user/)
})

t.test('a program is found as a shell finds it', async (t) => {
  const root = t.testdir({ bin: { tool: '#!/bin/sh\n', data: 'x' }, lib: { tool: '#!/bin/sh\n' } })
  for (const path of ['bin/tool', 'lib/tool']) chmodSync(join(root, path), 0o755)
  chmodSync(join(root, 'bin/data'), 0o644)
  mkdirSync(join(root, 'bin', 'sub'))
  writeFileSync(join(root, 'odd name'), '#! /bin/sh -e\n', { mode: 0o755 })
  const path = `${join(root, 'absent')}:${join(root, 'bin')}:${join(root, 'lib')}`
  t.equal(await resolveExecutable('tool', root, path, 'x'), join(root, 'bin/tool'))
  t.equal(await resolveExecutable('./lib/tool', root, path, 'x'), join(root, 'lib/tool'))
  t.equal(await resolveExecutable('./odd name', root, path, 'x'), join(root, 'odd name'))
  t.match(await resolveExecutable('sh', root, undefined, 'x'), /\/bin\/sh$/)
  const faults: [program: string, cwd: string, message: RegExp][] = [
    ['data', root, /cannot run data of unit 'x': .*data may not be executed; chmod \+x it/],
    ['sub', root, /is a directory/],
    ['none', root, /not found in the PATH of the unit/],
    ['./none', root, /no such file: .*none/],
    ['tool', join(root, 'nowhere'), /its working directory .*nowhere does not exist/],
    ['', root, /./],
  ]
  for (const [program, cwd, message] of faults) {
    t.match((await throwsReason(t, 'SPAWN_FAILED', () => resolveExecutable(program, cwd, path, 'x')))?.message, message)
  }
})
