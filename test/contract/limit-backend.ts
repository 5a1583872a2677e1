import type { Test } from 'tap'
import type { Cell, LimitBackend } from '../../src/process/limits/backend.ts'
import { RESOURCES } from '../../src/process/limits/resources.ts'
import { until } from '../support/until.ts'

/** One mechanism under test, with processes to put into its cells. */
export interface BackendUnderTest {
  readonly backend: LimitBackend
  /** A process that waits, in no cell. */
  readonly start: () => Promise<number>
  /** A child of that process. */
  readonly fork: (pid: number) => Promise<number>
  readonly isAlive: (pid: number) => boolean
}

const NODE = 'contract'

/** What every mechanism must do that gathers processes. */
export async function limitBackendContract(t: Test, make: (t: Test) => Promise<BackendUnderTest>): Promise<void> {
  const request = { node: NODE, instance: 'api-0-abc123', resources: RESOURCES, gather: true }

  async function made(t: Test): Promise<BackendUnderTest & { cell: Cell }> {
    const subject = await make(t)
    const cell = subject.backend.cell(request)
    t.teardown(async () => {
      await cell.kill().catch(() => undefined)
      await until('the cell to be removed', () => cell.remove(), 2_000)
    })
    await cell.hold({})
    return { ...subject, cell }
  }

  await t.test('a new cell is empty; a process taken in is in it, and what it starts is too', async (t) => {
    const { cell, start, fork } = await made(t)
    t.same(await cell.pids(), [])
    const pid = await start()
    await cell.enter(pid)
    const child = await fork(pid)
    t.same(
      [...(await cell.pids())].sort((a, b) => a - b),
      [pid, child].sort((a, b) => a - b),
    )
  })

  await t.test('a kill ends all in it and nobody else', async (t) => {
    const { cell, start, fork, isAlive } = await made(t)
    const [inside, outside] = [await start(), await start()]
    await cell.enter(inside)
    const child = await fork(inside)
    await cell.kill()
    await until('the processes are gone', () => !isAlive(inside) && !isAlive(child))
    t.ok(isAlive(outside))
    t.same(await cell.pids(), [])
  })

  await t.test('a kill of an empty cell does nothing', async (t) => {
    const { cell } = await made(t)
    await cell.kill()
    t.same(await cell.pids(), [])
  })

  await t.test('a cell is removed when it is empty and not before; a second time changes nothing', async (t) => {
    const { cell, start, isAlive } = await made(t)
    const pid = await start()
    await cell.enter(pid)
    t.notOk(await cell.remove())
    t.ok(isAlive(pid))
    await cell.kill()
    await until('the cell is removed', () => cell.remove())
    t.ok(await cell.remove())
  })

  await t.test('it is found again by what was written down, and by nothing else', async (t) => {
    const { backend, cell, start } = await made(t)
    const pid = await start()
    await cell.enter(pid)
    t.same(await backend.found(['other:thing:/x', ...cell.places])?.pids(), [pid])
    t.equal(backend.found(['other:thing:/x']), undefined)
  })

  await t.test('a sweep removes empty cells that are no instance of the node, and leaves the others', async (t) => {
    const { backend, cell, start } = await made(t)
    const [known, forgotten] = ['known', 'forgotten'].map((instance) => backend.cell({ ...request, instance }))
    await known?.hold({})
    await forgotten?.hold({})
    await cell.enter(await start())
    await backend.sweep(NODE, new Set(['known']))
    await t.rejects(async () => forgotten?.enter(await start()), 'it is gone')
    const other = await start()
    await known?.enter(other)
    t.same(await known?.pids(), [other])
    t.equal((await cell.pids()).length, 1)
    await known?.kill()
    await until('the known cell is removed', async () => known?.remove())
  })

  await t.test('limits are set, changed and taken away while processes are in it', async (t) => {
    const { cell, start } = await made(t)
    await cell.enter(await start())
    const caps = { memory: 64 * 1024 ** 2, cpu: 0.5, pids: 10, 'io.read': 1024 ** 2, 'io.write': 1024 ** 2 }
    await cell.hold(caps)
    await cell.hold({ ...caps, memory: 128 * 1024 ** 2, cpu: 2 })
    await cell.hold({ ...caps, memory: 32 * 1024 ** 2 })
    await cell.hold({})
    t.equal((await cell.pids()).length, 1)
  })
}
