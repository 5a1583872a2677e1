import { chmod, mkdir, rmdir, stat, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { nodePaths, type PathInputs, prepareDirectories, socketPath } from '../../../src/node/paths.ts'
import { throwsReason } from '../../support/throws-reason.ts'

const user: PathInputs = {
  platform: 'linux',
  uid: 1000,
  env: { XDG_RUNTIME_DIR: '/run/user/1000' },
  home: '/home/ann',
  tmpDir: '/tmp',
  cwd: '/work',
  dataDir: undefined,
}

t.test('where things are', async (t) => {
  const cases: readonly (readonly [
    name: string,
    change: Partial<PathInputs>,
    expected: readonly [data: string, runtime: string, log: string],
  ])[] = [
    ['a user', {}, ['/home/ann/.local/state/hsu', '/run/user/1000/hsu', '/home/ann/.local/state/hsu/log']],
    [
      'a user without a session',
      { env: {} },
      ['/home/ann/.local/state/hsu', '/home/ann/.local/state/hsu/run', '/home/ann/.local/state/hsu/log'],
    ],
    ['XDG_STATE_HOME', { env: { XDG_STATE_HOME: '/s' } }, ['/s/hsu', '/s/hsu/run', '/s/hsu/log']],
    [
      'a relative XDG variable is ignored',
      { env: { XDG_STATE_HOME: 's', XDG_RUNTIME_DIR: 'r' } },
      ['/home/ann/.local/state/hsu', '/home/ann/.local/state/hsu/run', '/home/ann/.local/state/hsu/log'],
    ],
    ['root', { uid: 0 }, ['/var/lib/hsu', '/run/hsu', '/var/log/hsu']],
    ['--data-dir moves all of it', { dataDir: 'data' }, ['/work/data', '/work/data/run', '/work/data/log']],
    ['so does HSU_DATA_DIR', { env: { HSU_DATA_DIR: '/srv/h' } }, ['/srv/h', '/srv/h/run', '/srv/h/log']],
    ['--data-dir wins', { dataDir: '/a', env: { HSU_DATA_DIR: '/b' } }, ['/a', '/a/run', '/a/log']],
    [
      'the standard place, given by name, moves nothing',
      { uid: 0, dataDir: '/var/lib/hsu' },
      ['/var/lib/hsu', '/run/hsu', '/var/log/hsu'],
    ],
    [
      'macOS',
      { platform: 'darwin', uid: 501, home: '/Users/ann' },
      [
        '/Users/ann/Library/Application Support/hsu',
        '/Users/ann/Library/Caches/hsu/run',
        '/Users/ann/Library/Logs/hsu',
      ],
    ],
    ['macOS, root', { platform: 'darwin', uid: 0 }, ['/var/lib/hsu', '/var/run/hsu', '/var/log/hsu']],
    [
      'Windows',
      { platform: 'win32', uid: undefined, env: { LOCALAPPDATA: 'C:\\L' } },
      ['C:\\L\\hsu', 'C:\\L\\hsu\\run', 'C:\\L\\hsu\\log'],
    ],
  ]
  for (const [name, change, [data, runtime, log]] of cases) {
    const paths = nodePaths({ ...user, ...change })
    t.same([paths.dataDir, paths.runtimeDir, paths.logDir], [data, runtime, log], name)
  }
  t.equal(nodePaths({ ...user, dataDir: '/d' }).unitsDir, '/d/units')
  t.equal(nodePaths({ ...user, uid: 0 }).configDir, '/etc/hsu')
})

t.test('a socket always has a path the kernel takes', async (t) => {
  const deep = `/srv/${'very-long/'.repeat(12)}data`
  const { runtimeDir } = nodePaths({ ...user, dataDir: deep })
  t.match(runtimeDir, /^\/run\/user\/1000\/hsu-[0-9a-f]{12}$/)
  t.equal(nodePaths({ ...user, dataDir: deep }).runtimeDir, runtimeDir, 'the same for every process that asks')
  t.not(nodePaths({ ...user, dataDir: `${deep}2` }).runtimeDir, runtimeDir)
  t.match(nodePaths({ ...user, env: {}, dataDir: deep }).runtimeDir, /^\/tmp\/hsu-1000-[0-9a-f]{12}$/)
  for (let length = 1; length < 150; length += 1) {
    const paths = nodePaths({ ...user, env: {}, dataDir: `/${'x'.repeat(length)}` })
    if (Buffer.byteLength(socketPath(paths, 'x'.repeat(23), 'linux')) > 107) t.fail(`${length}: ${paths.runtimeDir}`)
  }
  t.match(
    socketPath(nodePaths({ ...user, platform: 'win32' }), 'control', 'win32'),
    /^\\\\\.\\pipe\\hsu-[0-9a-f]{12}-control$/,
  )
})

const mode = async (path: string): Promise<number> => (await stat(path)).mode & 0o777

t.test('directories are made with their modes, and only once', async (t) => {
  const home = t.testdir()
  const paths = nodePaths({ ...user, env: {}, tmpDir: home, dataDir: join(home, 'a/b') })
  const uid = process.getuid?.()
  await prepareDirectories(paths, uid)
  t.equal(await mode(paths.dataDir), 0o700)
  t.equal(await mode(paths.unitsDir), 0o700)
  t.equal(await mode(paths.runtimeDir), 0o700)
  t.equal((await mode(paths.logDir)) & 0o027, 0, 'the log is nothing for others')
  await chmod(paths.runtimeDir, 0o777)
  await prepareDirectories(paths, uid)
  t.equal(await mode(paths.runtimeDir), 0o700, 'what was opened is closed again')
})

t.test('a runtime directory of someone else is refused', async (t) => {
  const home = t.testdir({ file: 'x' })
  const paths = nodePaths({ ...user, env: {}, tmpDir: home, dataDir: join(home, 'd') })
  const uid = process.getuid?.() ?? 0
  await prepareDirectories(paths, uid)
  const foreign = await throwsReason(t, 'NOT_PERMITTED', () => prepareDirectories(paths, uid + 1))
  t.match(foreign?.message, /^runtime directory .* belongs to user id \d+; remove it, or choose another place/)

  await rmdir(paths.runtimeDir)
  await mkdir(join(home, 'elsewhere'))
  await symlink(join(home, 'elsewhere'), paths.runtimeDir)
  const link = await throwsReason(t, 'NOT_PERMITTED', () => prepareDirectories(paths, uid))
  t.match(link?.message, /is not a directory/)

  const below = nodePaths({ ...user, env: {}, tmpDir: home, dataDir: join(home, 'file/d') })
  const blocked = await throwsReason(t, 'NOT_PERMITTED', () => prepareDirectories(below, uid))
  t.match(blocked?.message, /^cannot create .*: ENOTDIR; choose another place with --data-dir$/)
})
