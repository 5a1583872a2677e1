import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import { systemHost } from '../../src/process/index.ts'
import { fixture } from '../support/paths.ts'
import { nodeHome, processesOf, type SpawnedNode } from '../support/spawned-node.ts'
import { until } from '../support/until.ts'

interface Row {
  readonly pid: number | null
  readonly state: string
  readonly limits: readonly { readonly resource: string; readonly value: number; readonly mode: string }[]
}

const { enforces } = await systemHost().kernelLimits()
const skip = enforces.has('memory') ? false : 'this machine gives us no control group of memory'
const limits = { memory: '64MiB', pids: 60 }
const MIB = 1024 ** 2
const START_MS = 60_000

const configOf = (units: object) => ({ version: 1, node: { listen: { ingress: '127.0.0.1:0' } }, units })

function rowOf(node: SpawnedNode, predicate: (row: Row) => boolean): Promise<Row> {
  return until('the unit to be as wanted', async () => (await node.json<Row>('ps')).find(predicate), START_MS)
}

/** The directories of the control groups of the instances of a node, as it wrote them down. */
function groupsOf({ directory }: SpawnedNode): string[] {
  const files = readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((path) => /(^|\/)cell$/.test(path))
  return files.flatMap((path) =>
    readFileSync(join(directory, path), 'utf8')
      .split('\n')
      .filter((place) => place !== '')
      .map((place) => place.slice(place.indexOf('/'))),
  )
}

/** What the kernel holds the groups to. */
function memoryOf(groups: readonly string[]): number | undefined {
  const files = groups.flatMap((group) => ['memory.limit_in_bytes', 'memory.max'].map((name) => join(group, name)))
  const [file] = files.filter((each) => existsSync(each))
  return file === undefined ? undefined : Number(readFileSync(file, 'utf8'))
}

async function killUnits(home: string): Promise<void> {
  for (const pid of processesOf(home)) process.kill(pid, 'SIGKILL')
  await until('the units to be gone', () => processesOf(home).length === 0)
}

t.test(
  'A18: the next node finds the control groups of the units it adopts, and gives them back',
  { skip },
  async (t) => {
    const { home, node } = nodeHome(t)
    const edge = node('edge', { config: configOf({ db: { run: ['sleep', '600'], limits } }) })
    await edge.start()
    const first = await rowOf(edge, ({ pid, limits }) => pid !== null && limits.length === 2)
    const groups = groupsOf(edge)
    t.ok(groups.length > 0 && groups.every((group) => existsSync(group)))
    t.equal(memoryOf(groups), 64 * MIB)
    await edge.kill()

    edge.configure(configOf({ db: { run: ['sleep', '600'], limits: { ...limits, memory: '96MiB' } } }))
    await edge.start()
    const adopted = await rowOf(edge, ({ limits: [memory] }) => memory?.value === 96 * MIB)
    t.match(adopted, { pid: first.pid, limits: [{ resource: 'memory', mode: 'enforced' }] })
    await until('the group to have the new limit', () => memoryOf(groups) === 96 * MIB)

    await edge.kill()
    await killUnits(home)
    t.ok(
      groups.every((group) => existsSync(group)),
      'they are empty and still there',
    )
    await edge.start()
    const again = await rowOf(edge, ({ pid, state }) => pid !== null && pid !== first.pid && state === 'up')
    await until('the groups of the ended instance to be removed', () => groups.every((group) => !existsSync(group)))
    t.ok(existsSync(groupsOf(edge)[0] ?? ''))
    t.match(readFileSync(`/proc/${again.pid}/cgroup`, 'utf8'), /hsu-/)

    await edge.kill()
    await killUnits(home)
    const last = groupsOf(edge)
    edge.configure(configOf({}))
    await edge.start()
    await until('those of a unit that is no more wanted to be removed', () => last.every((group) => !existsSync(group)))
    t.notOk(
      last.some((group) => existsSync(dirname(group))),
      'and with them that of the node',
    )
  },
)

t.test('A18: a unit that the kernel ended for its memory while no node ran is told as such', { skip }, async (t) => {
  const { home, node } = nodeHome(t)
  const go = join(home, 'go')
  const grow = `while [ ! -e "$1" ]; do sleep 0.1; done; exec "$2" "$3" 400 300`
  const run = ['sh', '-c', grow, 'grow', go, process.execPath, fixture('grow-memory.mjs')]
  const edge = node('edge', { config: configOf({ grow: { run, limits, restart: { policy: 'no' } } }) })
  await edge.start()
  const { pid } = await rowOf(edge, ({ pid, limits }) => pid !== null && limits.length === 2)
  await edge.kill()
  writeFileSync(go, '')
  await until('the kernel to end it', () => !existsSync(`/proc/${pid}`), START_MS)

  await edge.start()
  const row = (await rowOf(edge, ({ state }) => state === 'failed')) as Row & { reason: string }
  t.match(row.reason, /memory used up \(resource_limit\): ended by the kernel/)
  const events = (await edge.hsu('events', '-o', 'json')).stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { type: string; details?: Record<string, string> })
  t.match(
    events.find(({ type }) => type === 'unit.exited'),
    { details: { kind: 'resource_limit' } },
  )
})
