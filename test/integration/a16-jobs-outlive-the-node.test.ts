import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { eventsOf } from '../support/event-rows.ts'
import { aloneConfig } from '../support/node-configs.ts'
import { nodeHome, type SpawnedNode } from '../support/spawned-node.ts'
import { until } from '../support/until.ts'

interface Run {
  readonly state: string
  readonly tick: string | null
  readonly attempts: number
}

/** `$` is doubled, as variables of the configuration are filled in first. */
const sh = (script: string, ...args: string[]): string[] => ['sh', '-c', script.replaceAll('$', '$$$$'), 'sh', ...args]

/** Says what it finds in its file, as often as it is written anew, until that is `end`; then ends with code 5. */
const ECHO =
  'said=; while [ "$said" != end ]; do read -r now <"$1"; [ "$now" = "$said" ] || echo "$now"; said=$now; sleep 0.05; done; exit 5'

const linesOf = (path: string): string[] => (existsSync(path) ? readFileSync(path, 'utf8').trim().split('\n') : [])

t.test(
  'A16: a run and who watches it outlive an upgrade, a reload and a killed node',
  { timeout: 180_000 },
  async (t) => {
    const { home, node } = nodeHome(t)
    const file = join(home, 'words')
    writeFileSync(file, 'one\n')
    const work = { run: sh(ECHO, file), job: { retries: 0 } }
    const alone = node('alone', { config: aloneConfig('alone', { work }) })
    await alone.start()
    const run = alone.spawn(['run', 'work'], ['ignore', 'pipe', 'pipe'])
    let [text, notes] = ['', '']
    run.stdout?.on('data', (chunk: Buffer) => (text += chunk.toString()))
    run.stderr?.on('data', (chunk: Buffer) => (notes += chunk.toString()))
    const says = async (word: string): Promise<void> => {
      writeFileSync(file, `${word}\n`)
      await until(`${word} to be shown; there is: ${text} ${notes}`, () => text.split('\n').includes(word))
    }
    await says('one')

    const { code, stderr } = await alone.hsu('upgrade')
    t.equal(code, 0, stderr)
    await says('two')
    alone.configure(aloneConfig('alone', { work: { ...work, run: sh('exit 6') } }))
    t.equal((await alone.hsu('reload')).code, 0)
    await says('three')
    const lock = JSON.parse(readFileSync(join(alone.directory, 'node.lock'), 'utf8')) as { pid: number }
    process.kill(lock.pid, 'SIGKILL')
    await alone.ended()
    writeFileSync(file, 'four\n')
    await alone.start()
    await says('five')
    writeFileSync(file, 'end\n')
    t.equal(await until('the command to end', () => run.exitCode ?? undefined), 5)
    t.same(
      // The file is empty for a moment while it is written.
      text.split('\n').filter((word) => word !== 'four' && word !== ''),
      ['one', 'two', 'three', 'five', 'end'],
      'each line once',
    )
    t.match(await alone.json<Run>('runs', 'work'), [{ state: 'failed', attempts: 1 }], 'one run, one process')
    t.equal((await alone.hsu('run', 'work')).code, 6, 'the next one is as the configuration has it now')
    t.equal((await alone.hsu('down')).code, 0)
  },
)

const runsOf = (node: SpawnedNode, unit: string): Promise<Run[]> => node.json<Run>('runs', unit)

t.test(
  'A16: no time of a schedule is left out or run twice by upgrades and reloads',
  { timeout: 180_000 },
  async (t) => {
    const { home, node } = nodeHome(t)
    const ticks = join(home, 'ticks')
    const beat = { run: sh('echo "$HSU_TICK" >>"$1"', ticks), schedule: '* * * * * *', job: { history: 1_000 } }
    const alone = node('alone', { config: aloneConfig('alone', { beat }) })
    await alone.start()
    const more = (count: number): Promise<unknown> => {
      const from = linesOf(ticks).length
      return until(`${count} more runs`, () => linesOf(ticks).length >= from + count, 60_000)
    }
    await more(2)
    for (let swap = 0; swap < 2; swap += 1) {
      t.equal((await alone.hsu('upgrade')).code, 0)
      await more(2)
    }
    const schedule = { cron: beat.schedule, jitter: '10ms' }
    alone.configure(aloneConfig('alone', { beat: { ...beat, schedule } }))
    t.equal((await alone.hsu('reload')).code, 0)
    await more(2)
    const seen = linesOf(ticks)
    t.equal(new Set(seen).size, seen.length, 'none twice')
    // A swap may take longer than the second between two times: then one run stands for those that passed, and that is said.
    const told = (await eventsOf(alone, 'beat')).filter(({ type }) => type === 'run.missed')
    const missed = told.reduce((sum, { details }) => sum + Number(details['count']), 0)
    const [first, last] = [Math.min(...seen.map(Date.parse)), Math.max(...seen.map(Date.parse))]
    const runs = (await runsOf(alone, 'beat')).filter(({ tick }) => Date.parse(tick ?? '') <= last)
    t.equal((last - first) / 1_000 + 1, runs.length + missed, 'each time has its run, or is told as missed')

    alone.configure(aloneConfig('alone', { beat: { ...beat, schedule: '0 0 1 1 *' } }))
    t.equal((await alone.hsu('reload')).code, 0)
    const atReload = (await runsOf(alone, 'beat')).length
    const nextYear = new RegExp(`due at ${new Date().getFullYear() + 1}-01-01`)
    await until('the new schedule to be shown', async () => nextYear.test((await alone.hsu('runs', 'beat')).stdout))
    await until('some seconds', () => Date.now() > last + 5_000)
    t.equal((await runsOf(alone, 'beat')).length, atReload, 'the old schedule is in force no more')
    t.equal((await alone.hsu('down')).code, 0)
  },
)
