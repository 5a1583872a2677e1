import { execFileSync } from 'node:child_process'
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { eventsOf } from '../support/event-rows.ts'
import { logRows } from '../support/log-lines.ts'
import { aloneConfig } from '../support/node-configs.ts'
import { fixture } from '../support/paths.ts'
import { nodeHome, type SpawnedNode } from '../support/spawned-node.ts'
import { until } from '../support/until.ts'

/** Why a small disk cannot be made here; false when it can. */
function missing(): string | false {
  if (process.platform !== 'linux') return 'needs tmpfs'
  if (process.getuid?.() !== 0) return 'needs root, to mount a small disk'
  try {
    execFileSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'none', '/mnt'], { stdio: 'ignore' })
    return false
  } catch {
    return 'needs the right to mount'
  }
}

/** A disk of its own at `directory` that can be filled to its last byte. */
function smallDisk(t: Test, directory: string, size: string): { fill(): void; free(): void } {
  mkdirSync(directory, { recursive: true })
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'hsu-test', directory])
  // Lazily: a node that is killed later may still be there.
  t.teardown(() => execFileSync('umount', ['--lazy', directory]))
  const ballast = join(directory, 'ballast')
  return {
    fill() {
      const file = openSync(ballast, 'w')
      try {
        for (const block = Buffer.alloc(4_096); ; ) writeSync(file, block)
      } catch {
        // It is full.
      } finally {
        closeSync(file)
      }
    },
    free: () => rmSync(ballast),
  }
}

interface UnitRow {
  readonly state: string
  readonly pid: number | null
}

const lastSeq = async (node: SpawnedNode): Promise<number> => (await logRows(node, '-n', '1')).at(0)?.seq ?? -1

t.test('A08: on a full disk a unit runs on, and what is lost is counted', { skip: missing() }, async (t) => {
  const { home, node } = nodeHome(t)
  const disk = smallDisk(t, join(home, 'edge', 'log'), '4m')
  const counter = { run: [fixture('count-lines.sh'), 'n', join(home, 'over')], logs: { max_size: '10MiB' } }
  const edge = node('edge', { config: aloneConfig('edge', { counter }) })
  await edge.start()
  const [before] = await edge.json<UnitRow>('ps')
  await until('lines to be stored', async () => (await lastSeq(edge)) > 0)

  disk.fill()
  await until('the loss to be told', async () => (await eventsOf(edge, '--type', 'unit.logs_lost')).length > 0)
  const [during] = await edge.json<UnitRow>('ps')
  t.match(during, { state: 'up', pid: before?.pid })
  disk.free()
  await until(
    'the end of the loss to be told',
    async () => (await eventsOf(edge, '--type', 'unit.logs_kept')).length > 0,
  )
  const then = await lastSeq(edge)
  await until('logging to go on', async () => (await lastSeq(edge)) > then)

  const [lost, ...again] = await eventsOf(edge, '--type', 'unit.logs_lost')
  t.match(lost, { unit: 'counter', details: { cause: /ENOSPC/ } })
  t.strictSame(again, [], 'told once')
  const kept = await eventsOf(edge, '--type', 'unit.logs_kept')
  t.equal(kept.length, 1)
  const rows = await logRows(edge)
  const gaps = rows.reduce((sum, { seq }, index) => sum + seq - (index === 0 ? 0 : (rows[index - 1]?.seq ?? 0) + 1), 0)
  t.equal(Number(kept[0]?.details['lost']), gaps, 'every line is stored, or counted and missing in the numbers')
  t.ok(gaps > 0)
  t.match((await edge.json<UnitRow>('ps'))[0], { state: 'up', pid: before?.pid })
  await edge.hsu('down')
})

t.test('A08: a disk that is full with all that the node keeps does not end a unit', { skip: missing() }, async (t) => {
  const { home, node } = nodeHome(t)
  const disk = smallDisk(t, join(home, 'edge'), '16m')
  const counter = { run: [fixture('count-lines.sh'), 'n', join(home, 'over')] }
  const edge = node('edge', { config: aloneConfig('edge', { counter }) })
  await edge.start()
  const [before] = await edge.json<UnitRow>('ps')
  await until('lines to be stored', async () => (await lastSeq(edge)) > 0)
  disk.fill()
  t.match((await edge.json<UnitRow>('ps'))[0], { state: 'up', pid: before?.pid })
  disk.free()
  const then = await lastSeq(edge)
  await until('logging to go on', async () => (await lastSeq(edge)) > then)
  t.match((await edge.json<UnitRow>('ps'))[0], { state: 'up', pid: before?.pid })
  await edge.hsu('down')
})
