import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { createInterface } from 'node:readline'
import t, { type Test } from 'tap'
import { systemHost } from '../../src/process/index.ts'
import type { LimitBackend } from '../../src/process/limits/backend.ts'
import { hostLimits } from '../../src/process/limits/host-limits.ts'
import { rlimits } from '../../src/process/limits/rlimits.ts'
import { systemBackends } from '../../src/process/limits/system-limits.ts'
import { openInstanceFiles } from '../../src/process/instance-files.ts'
import { posixHost } from '../../src/process/posix-host.ts'
import { procTable } from '../../src/process/proc-table.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import { throwsReason } from '../support/throws-reason.ts'
import { SHELL, shimArguments } from '../../src/process/posix-shim.ts'
import { limitBackendContract } from '../contract/limit-backend.ts'
import { workspace } from '../support/supervised.ts'
import { until } from '../support/until.ts'

const backends = await systemBackends()
const PATH = process.env['PATH'] ?? '/usr/bin:/bin'

function backendNamed(name: string): LimitBackend | undefined {
  return backends.find((backend) => backend.name === name)
}

/** Real processes: a shell that starts a `sleep` for each line it is given. */
function processes(t: Test) {
  const shells = new Map<number, ChildProcess>()
  t.teardown(() => {
    for (const shell of shells.values()) {
      shell.kill('SIGKILL')
    }
  })
  return {
    start: async (): Promise<number> => {
      const shell = spawn('/bin/sh', ['-c', 'while read -r line; do sleep 60 & echo $!; done'])
      await once(shell, 'spawn')
      const pid = shell.pid as number
      shells.set(pid, shell)
      return pid
    },
    fork: async (pid: number): Promise<number> => {
      const { stdin, stdout } = shells.get(pid) ?? {}
      const lines = createInterface({ input: stdout as NonNullable<typeof stdout> })
      stdin?.write('\n')
      const [line] = (await once(lines, 'line')) as [string]
      lines.close()
      return Number(line)
    },
    isAlive: (pid: number) => existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(statusOf(pid)),
  }
}

function statusOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/status`, 'utf8')
  } catch {
    return ''
  }
}

for (const name of ['cgroup v1', 'cgroup v2']) {
  const backend = backendNamed(name)
  const skip = backend === undefined && `this machine has no ${name} that we may use`
  t.test(`${name} keeps the contract (this kernel)`, { skip }, async (t) => {
    await limitBackendContract(t, async (t) => ({ backend: backend as LimitBackend, ...processes(t) }))
  })

  t.test(`${name}: frozen processes stand still until they are let go on`, { skip }, async (t) => {
    const { start, fork } = processes(t)
    const cell = (backend as LimitBackend).cell({ node: 'test', instance: 'freeze', resources: [], gather: true })
    await cell.hold({})
    const pid = await start()
    await cell.enter(pid)
    await cell.freeze(true)
    let answered = false
    const forked = fork(pid).then((child) => {
      answered = true
      return child
    })
    await until('it is frozen', () => /^State:\s+[DS]/m.test(statusOf(pid)))
    t.notOk(answered)
    await cell.freeze(false)
    const child = await forked
    t.ok((await cell.pids()).includes(child))
    await cell.kill()
    await until('the cell is removed', () => cell.remove())
  })
}

t.test('a program that starts is in its cell already, and what it starts is killed with it', async (t) => {
  const host = systemHost()
  const directory = join(workspace(t), 'one')
  const script = 'cat /proc/self/cgroup; sleep 60 & setsid sleep 60 & wait'
  const request = { unit: 'sample', directory, argv: ['sh', '-c', script], cwd: '/', env: { PATH }, user: undefined }
  const child = await host.spawn({ ...request, caps: { pids: 50 }, limited: ['pids'] })
  t.teardown(() => host.discard(directory))
  const { cell } = child
  if (cell === undefined) return void t.pass('this machine has no control groups that we may use')
  await until('all run', async () => (await cell.pids()).length === 4)
  t.match(readFileSync(join(directory, 'stdout'), 'utf8'), /\/hsu-[0-9a-f]+\/one/)
  t.ok((await cell.pids()).includes(child.leader.pid))
  const again = await host.cellOf(directory)
  t.same(await again?.pids(), await cell.pids(), 'a later node finds it')
  await cell.kill()
  // The shim is killed too; whether it is seen to end before the program is chance.
  const exit = await child.exited
  t.ok(exit === undefined || ('signal' in exit && exit.signal === 'SIGKILL'))
  await until('nothing is left', async () => (await cell.pids()).length === 0)
  await host.discard(directory)
  for (const place of cell.places) t.notOk(existsSync(place.slice(place.indexOf('/'))), 'the cell is given back')
  return undefined
})

t.test('a shim whose node dies before it let it go on ends without running the program', async (t) => {
  const directory = workspace(t)
  const files = await openInstanceFiles(directory, undefined)
  const argv = shimArguments(directory, ['/bin/sh', '-c', 'echo ran'], {})
  const stdio = ['ignore', files.stdout, files.stderr, files.pid, files.exit, 'pipe'] as const
  const shim = spawn(SHELL, [...argv], { stdio: [...stdio], detached: true })
  const pipe = (shim.stdio as readonly unknown[])[5] as Duplex
  pipe.destroy()
  t.same(await once(shim, 'exit'), [126, null])
  for (const name of ['stdout', 'pid', 'exit']) t.equal(readFileSync(join(directory, name), 'utf8'), '')
  await files.close()
})

t.test('a program whose limits cannot be set is not run', async (t) => {
  const backend: LimitBackend = {
    ...rlimits,
    cell: (request) => ({
      ...rlimits.cell(request),
      enter: async () => {
        throw new Error('no room')
      },
    }),
  }
  const limits = hostLimits(systemClock, async () => [backend])
  const host = posixHost({ clock: systemClock, table: procTable(), limits })
  const directory = join(workspace(t), 'one')
  const argv = ['sh', '-c', 'echo ran']
  const request = { unit: 'sample', directory, argv, cwd: '/', env: { PATH }, user: undefined }
  const error = await throwsReason(t, 'SPAWN_FAILED', () => host.spawn({ ...request, limited: ['files'] }))
  t.match(error?.message, /of unit 'sample': no room/)
  await until('the shim is gone', async () => await host.adopt({ directory, leader: undefined, main: undefined }))
  t.equal(readFileSync(join(directory, 'stdout'), 'utf8'), '')
})
