import { chmodSync, existsSync, mkdirSync, rmdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { UnitShape } from '../../src/cli/shapes.ts'
import { fixture } from '../support/paths.ts'
import { nodeHome, type SpawnedNode } from '../support/spawned-node.ts'
import { stranger } from '../support/stranger.ts'

const onLinux = process.platform === 'linux' ? {} : { skip: 'reads /proc' }
const config = { version: 1, node: { name: 'n', listen: { ingress: '127.0.0.1:0' } } }

interface ProcessRow {
  readonly pid: number
  readonly identity: string
  readonly args: readonly string[]
}

const listener = (t: Test, ...args: string[]) => stranger(t, [process.execPath, fixture('listen.mjs'), ...args])
const portOf = ({ firstLine }: { readonly firstLine: string }): string => firstLine.replace('ready ', '')

/** A `systemctl` that knows one service, in a directory to be put into PATH. */
function fakeSystemctl(home: string, service: string, mainPid: number): string {
  const bin = join(home, 'bin')
  mkdirSync(bin)
  const script = `#!/bin/sh\nfor last; do :; done\n[ "$last" = ${service} ] && echo MainPID=${mainPid} || echo MainPID=0\n`
  writeFileSync(join(bin, 'systemctl'), script)
  chmodSync(join(bin, 'systemctl'), 0o755)
  return bin
}

t.test('every way to a process leads to the same one', { ...onLinux, timeout: 120_000 }, async (t) => {
  const { home, node: makeNode } = nodeHome(t)
  const server = await listener(t, 'tcp', '::', '0', `--config=${home}`)
  const bin = fakeSystemctl(home, 'stand-in.service', server.pid)
  const node = makeNode('n', { config, env: { PATH: `${bin}:${process.env['PATH'] ?? ''}` } })
  await node.start()
  writeFileSync(join(home, 'server.pid'), `${server.pid}\n`)
  const ways: Record<string, string[]> = {
    pid: ['--pid', String(server.pid)],
    file: ['--pid-file', join(home, 'server.pid')],
    port: ['--port', `tcp/${portOf(server)}`],
    service: ['--service', 'stand-in.service'],
    short: ['--service', 'stand-in'],
    name: ['--name', 'node', '--arg', `--config=${home}`],
  }
  const identities = new Set<string>()
  for (const [unit, find] of Object.entries(ways)) {
    const [found, ...others] = await node.json<ProcessRow>('find', ...find)
    t.match([found, others], [{ pid: server.pid }, []], unit)
    identities.add(found?.identity ?? '')
    t.equal((await node.hsu('attach', unit, ...find)).code, 0)
  }
  t.equal(identities.size, 1, 'pid, start and boot are the same')
  const rows = await node.json<UnitShape>('ps')
  t.same(
    rows.map(({ unit, pid, state }) => [unit, pid, state]),
    Object.keys(ways)
      .sort()
      .map((unit) => [unit, server.pid, 'up']),
  )
  t.equal(new Set(rows.map(({ startedAt }) => startedAt)).size, 1)
})

t.test('the owner of a port is found on IPv4 and IPv6, tcp and udp', { ...onLinux, timeout: 120_000 }, async (t) => {
  const { node: makeNode } = nodeHome(t)
  const node = makeNode('n', { config })
  await node.start()
  for (const protocol of ['tcp', 'udp']) {
    for (const host of ['127.0.0.1', '::1']) {
      const server = await listener(t, protocol, host)
      const found = await node.json<ProcessRow>('find', '--port', `${protocol}/${portOf(server)}`)
      t.match(found, [{ pid: server.pid, listens: [{ protocol, address: host, port: Number(portOf(server)) }] }])
    }
  }
})

t.test('what is not there, and what is there twice, is said as such', { ...onLinux, timeout: 120_000 }, async (t) => {
  const { home, node: makeNode } = nodeHome(t)
  const node = makeNode('n', { config })
  symlinkSync('/bin/sleep', join(home, 'twin'))
  await node.start()
  const twins = await Promise.all(['601', '602'].map((arg) => stranger(t, [join(home, 'twin'), arg], { silent: true })))

  const none: Record<string, string[]> = {
    pid: ['--pid', '2147483646'],
    pid_file: ['--pid-file', join(home, 'none.pid')],
    name: ['--name', 'no-such-program'],
    port: ['--port', 'udp/1'],
    service: ['--service', 'no-such'],
  }
  for (const [method, find] of Object.entries(none)) {
    for (const command of [['find'], ['attach', 'x']]) {
      const { code, stderr } = await node.hsu(...command, ...find)
      t.match({ code, stderr }, { code: 4, stderr: new RegExp(`^hsu: no process found by ${method}: `) })
    }
  }
  const twice = await node.hsu('attach', 'x', '--name', 'twin')
  t.equal(twice.code, 1)
  for (const { pid } of twins) t.match(twice.stderr, new RegExp(`pid ${pid}, started [^;]*: ${join(home, 'twin')}`))
  t.equal((await node.hsu('find', '--name', 'twin')).code, 1)
  t.same(await node.json('ps'), [], 'and nothing was attached')

  t.equal((await node.hsu('attach', 'x', '--name', 'twin', '--arg', '602')).code, 0)
  t.match(await node.json('ps'), [{ unit: 'x', pid: twins[1]?.pid }])
  t.equal((await node.hsu('attach', 'x', '--pid', String(twins[0]?.pid))).code, 1, 'a name is taken once')
  t.equal((await node.hsu('find', '--pid', '1', '--name', 'twin')).code, 2)
})

t.test(
  'what is attached is kept over a restart of the node, and goes when it is detached',
  { ...onLinux, timeout: 120_000 },
  async (t) => {
    const { home, node: makeNode } = nodeHome(t)
    const node = makeNode('n', { config })
    symlinkSync('/bin/sleep', join(home, 'kept'))
    const server = await stranger(t, [join(home, 'kept'), '600'], { silent: true })
    await node.start()
    t.equal((await node.hsu('attach', 'kept', '--name', 'kept', '--arg', '600')).code, 0)
    t.equal((await node.hsu('attach', 'by-pid', '--pid', String(server.pid))).code, 0)
    const before = await node.json<UnitShape>('ps')
    await node.kill()
    await node.start()
    await found(node, 2)
    t.match(
      await node.json('ps'),
      before.map(({ unit, pid, origin }) => ({ unit, pid, origin, state: 'up' })),
    )
    for (const unit of ['kept', 'by-pid']) t.equal((await node.hsu('detach', unit)).code, 0)
    t.same(await node.json('ps'), [])
    t.equal((await node.hsu('detach', 'kept')).code, 4)
    await node.kill()
    await node.start()
    t.same(await node.json('ps'), [])
    t.ok(server.alive)
  },
)

/** Waits until so many units have a process. */
async function found(node: SpawnedNode, count: number): Promise<void> {
  const names = (await node.json<UnitShape>('ps')).map(({ unit }) => unit)
  if (names.length !== count) throw new Error(`${names.length} units instead of ${count}`)
  for (const unit of names) await node.hsu('wait', unit, '--for', 'up')
}

/** Where control groups of version 2 are: alone, or beside those of version 1. */
const groups = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'].find((path) => existsSync(`${path}/cgroup.procs`))
const service = `hsu-test-${process.pid}`
const group = `${groups}/${service}.service`
const noGroups = ((): string | false => {
  if (groups === undefined) return 'there are no control groups of version 2'
  try {
    mkdirSync(group)
    rmdirSync(group)
    return false
  } catch {
    return 'needs root, to make a control group'
  }
})()

t.test(
  'without systemctl, a service is found by its control group',
  { skip: noGroups, timeout: 120_000 },
  async (t) => {
    const { home, node: makeNode } = nodeHome(t)
    symlinkSync(process.execPath, join(home, 'node'))
    const node = makeNode('n', { config })
    mkdirSync(group)
    t.teardown(() => rmdirSync(group))
    const server = await listener(t, 'tcp', '127.0.0.1')
    writeFileSync(join(group, 'cgroup.procs'), String(server.pid))
    await node.start()
    t.match(await node.json('find', '--service', service), [{ pid: server.pid }])
    server.kill('SIGKILL')
    await server.ended
  },
)
