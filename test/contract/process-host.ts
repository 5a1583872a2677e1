import type { Test } from 'tap'
import type { Child, ProcessHost, SpawnRequest } from '../../src/process/host.ts'
import { systemClock } from '../../src/base/system-clock.ts'
import type { ProcessIdentity } from '../../src/process/identity.ts'
import { markOf } from '../../src/process/launch.ts'
import { isSame, treeOf } from '../../src/process/process-table.ts'
import { killTree } from '../../src/process/terminate.ts'
import { throwsReason } from '../support/throws-reason.ts'
import { until } from '../support/until.ts'

/** One implementation under test, with programs that behave in a known way. */
export interface HostUnderTest {
  readonly host: ProcessHost
  /** Starts as a request for a program that: */
  readonly requests: {
    /** runs until it is signalled */
    runs: () => SpawnRequest
    /** exits with code 3 */
    fails: () => SpawnRequest
    /** does not exist */
    missing: () => SpawnRequest
    /** has a helper process in its group */
    forks: () => SpawnRequest
    /** has a daemon that left its session and its parent; undefined where the system shows no environment */
    daemonizes: (() => SpawnRequest) | undefined
  }
}

/** What every `ProcessHost` must do. */
export async function processHostContract(t: Test, make: (t: Test) => HostUnderTest): Promise<void> {
  const spawn = async (t: Test, host: ProcessHost, request: SpawnRequest): Promise<Child> => {
    const child = await host.spawn(request)
    t.teardown(async () => {
      await host.signalGroup(child, 'SIGKILL')
      child.release()
    })
    return child
  }

  await t.test('a started program is in the table, under a leader of its own group', async (t) => {
    const { host, requests } = make(t)
    const { main, leader } = await spawn(t, host, requests.runs())
    t.ok(await isSame(host.table, main))
    t.match(await host.table.get(main.pid), { ppid: leader.pid, pgid: leader.pid, sessionId: leader.pid })
    t.ok((await host.table.list()).some(({ pid }) => pid === main.pid))
  })

  await t.test('the exit of a program is told, by code or by signal', async (t) => {
    const { host, requests } = make(t)
    const failed = await spawn(t, host, requests.fails())
    t.same(await failed.exited, { code: 3 })
    const ended = await spawn(t, host, requests.runs())
    t.ok(await host.signal(ended.main, 'SIGTERM'))
    t.same(await ended.exited, { signal: 'SIGTERM' })
    t.notOk(await isSame(host.table, ended.main))
  })

  await t.test('a signal for the group reaches helpers too', async (t) => {
    const { host, requests } = make(t)
    const child = await spawn(t, host, requests.forks())
    const members = async (): Promise<number> =>
      (await host.table.list()).filter(({ pgid, state }) => pgid === child.leader.pid && state !== 'Z').length
    await until('the helper runs', async () => (await members()) >= 3)
    t.ok(await host.signalGroup(child, 'SIGTERM'))
    await child.exited
    await until('nothing is left', async () => (await members()) === 0)
  })

  await t.test('the program does not begin before it may', async (t) => {
    const { host, requests } = make(t)
    let begun = false
    let begin = (): void => undefined
    const after = new Promise<void>((resolve) => {
      begin = () => {
        begun = true
        resolve()
      }
    })
    const child = host.spawn({ ...requests.fails(), after }).then((spawned) => {
      t.ok(begun)
      return spawned
    })
    // Another start from beginning to end is time enough for this one to go wrong.
    t.same(await (await host.spawn(requests.fails())).exited, { code: 3 })
    begin()
    t.same(await (await child).exited, { code: 3 })
  })

  await t.test('a daemon that went its own way is found by the mark of its instance, and by no other', async (t) => {
    const { host, requests } = make(t)
    if (requests.daemonizes === undefined) {
      t.comment('no environment is shown on this system')
      return
    }
    const child = await spawn(t, host, requests.daemonizes())
    const marked = async () => host.table.marked(await host.table.list(), markOf(child.directory), child.leader)
    await until('the daemon', async () => {
      const tree = new Set(treeOf(child.leader.pid, await host.table.list()).map(({ pid }) => pid))
      return (await marked()).some(({ pid }) => !tree.has(pid))
    })
    t.same(await host.table.marked(await host.table.list(), `${markOf(child.directory)}x`), [])
    const ofAnotherBoot = { ...child.leader, startTime: '99999999999999', bootId: 'another' }
    await until('nothing is left out by what another boot counted', async () => {
      const list = await host.table.list()
      const markedSince = (first: ProcessIdentity) => host.table.marked(list, markOf(child.directory), first)
      const before = await markedSince(child.leader)
      const unfiltered = await markedSince(ofAnotherBoot)
      // The helpers of the programs come and go: only those count that were there before and after.
      const after = await markedSince(child.leader)
      const lasting = before.filter((info) => after.includes(info))
      return lasting.length > 0 && lasting.every((info) => unfiltered.includes(info))
    })
    t.ok(await killTree(host, child, [], systemClock, new AbortController().signal))
    t.same(await marked(), [])
  })

  await t.test('nothing is signalled once the process is gone, nor when the pid belongs to another', async (t) => {
    const { host, requests } = make(t)
    const child = await spawn(t, host, requests.runs())
    const impostor = { ...child.main, startTime: 'another' }
    t.notOk(await host.signal(impostor, 'SIGTERM'))
    t.notOk(
      await host.signalGroup(
        { ...child, main: impostor, leader: { ...child.leader, startTime: 'another' } },
        'SIGTERM',
      ),
    )
    t.notOk(await host.signal({ ...child.main, bootId: 'of another boot' }, 'SIGTERM'))
    t.ok(await isSame(host.table, child.main))
    await host.signal(child.main, 'SIGKILL')
    await child.exited
    t.notOk(await host.signal(child.main, 'SIGTERM'))
    await until('the leader is gone', async () => !(await isSame(host.table, child.leader)))
    t.notOk(await host.signalGroup(child, 'SIGTERM'))
  })

  await t.test('a program let go of is adopted by its identity, and its end is told', async (t) => {
    const { host, requests } = make(t)
    const request = requests.runs()
    const { leader, main, release } = await spawn(t, host, request)
    release()
    const adopted = await host.adopt({ directory: request.directory, leader, main })
    if ('gone' in adopted) return t.fail('it runs')
    t.same([adopted.leader, adopted.main], [leader, main])
    await host.signal(adopted.main, 'SIGTERM')
    t.same(await adopted.exited, { signal: 'SIGTERM' })
    return undefined
  })

  await t.test('the end of a program that ended while nobody looked is learnt', async (t) => {
    const { host, requests } = make(t)
    const request = requests.fails()
    const { leader, main, exited, release } = await spawn(t, host, request)
    await exited
    release()
    t.same(await host.adopt({ directory: request.directory, leader, main }), { gone: true, exit: { code: 3 } })
    await host.discard(request.directory)
    t.same(await host.adopt({ directory: request.directory, leader, main }), { gone: true, exit: undefined })
  })

  await t.test('an instance is found by its directory alone, when the node died before it wrote more', async (t) => {
    const { host, requests } = make(t)
    const request = requests.runs()
    const child = await spawn(t, host, request)
    const adopted = await host.adopt({ directory: request.directory, leader: undefined, main: undefined })
    if ('gone' in adopted) return t.fail('it runs')
    t.same([adopted.leader, adopted.main], [child.leader, child.main])
    adopted.release()
    return undefined
  })

  await t.test('a program that cannot be run is refused with the name of its unit', async (t) => {
    const { host, requests } = make(t)
    const request = requests.missing()
    const error = await throwsReason(t, 'SPAWN_FAILED', () => host.spawn(request))
    t.match(error?.message, new RegExp(`of unit '${request.unit}'`))
  })

  await t.test('a free port is free and no two are the same', async (t) => {
    const { host } = make(t)
    const [one, other] = [await host.freePort(), await host.freePort()]
    t.not(one, other)
    t.ok(await host.isPortFree(one))
  })
}
