import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { acquireFileLock, type FileLock, type LockHolder } from '../../../src/base/file-lock.ts'

const holder = (pid: number, token = `start-${pid}`): LockHolder => ({ pid, token, name: `node-${pid}` })
const everyone = async (): Promise<boolean> => true
const nobody = async (): Promise<boolean> => false

function isLock(result: FileLock | LockHolder): result is FileLock {
  return 'release' in result
}

t.test('the second to come is told who the first is, until it lets go', async (t) => {
  const path = join(t.testdir(), 'node.lock')
  const first = await acquireFileLock(path, holder(1), everyone)
  t.ok(isLock(first))
  t.same(await acquireFileLock(path, holder(2), everyone), holder(1))
  if (isLock(first)) await first.release()
  const second = await acquireFileLock(path, holder(2), everyone)
  t.ok(isLock(second))
  if (isLock(first)) await first.release()
  t.same(readdirSync(join(path, '..')), ['node.lock'], 'a late release does not take the lock of another')
})

t.test('the lock of a process that is gone is taken over, also when its pid lives on as another', async (t) => {
  const path = join(t.testdir(), 'node.lock')
  await acquireFileLock(path, holder(1), everyone)
  const alive = async ({ token }: LockHolder): Promise<boolean> => token === 'someone else'
  t.ok(isLock(await acquireFileLock(path, holder(1, 'reborn'), alive)))
})

t.test('a lock file that cannot be read does not keep a node from starting', async (t) => {
  const path = join(t.testdir(), 'node.lock')
  writeFileSync(path, '{"pid": 1')
  t.ok(isLock(await acquireFileLock(path, holder(2), nobody)))
})

t.test('of many that come at once over a stale lock exactly one gets it', async (t) => {
  const path = join(t.testdir(), 'node.lock')
  await acquireFileLock(path, holder(1), everyone)
  const alive = async ({ pid }: LockHolder): Promise<boolean> => pid !== 1
  const results = await Promise.all([...Array(8).keys()].map((n) => acquireFileLock(path, holder(n + 10), alive)))
  t.equal(results.filter(isLock).length, 1)
  t.same(readdirSync(join(path, '..')), ['node.lock'])
})

t.test('a second node in the same process does not get the lock of the first', async (t) => {
  const path = join(t.testdir(), 'node.lock')
  t.ok(isLock(await acquireFileLock(path, holder(1), everyone)))
  t.same(await acquireFileLock(path, holder(1), everyone), holder(1))
})

t.test('a lock that was passed on is held by the one it was passed to, once, and by nobody else', async (t) => {
  const path = join(t.testdir(), 'node.lock')
  const first = await acquireFileLock(path, holder(1), everyone)
  if (!isLock(first)) throw new Error('the first one has no lock')
  await first.passTo(holder(2))
  t.same(await acquireFileLock(path, holder(3), everyone), holder(2))
  await first.release()
  const second = await acquireFileLock(path, holder(2), everyone)
  t.ok(isLock(second))
  t.same(await acquireFileLock(path, holder(2), everyone), holder(2), 'twice in one process is once too often')
  if (isLock(second)) await second.release()
  t.same(readdirSync(join(path, '..')), [])
})

t.test('a lock that was passed to a process that has ended since is taken over', async (t) => {
  const path = join(t.testdir(), 'node.lock')
  const first = await acquireFileLock(path, holder(1), everyone)
  if (isLock(first)) await first.passTo(holder(2))
  t.ok(isLock(await acquireFileLock(path, holder(1), async ({ pid }) => pid === 1)))
})
