import t from 'tap'
import { parseLayout } from '../../../src/process/limits/cgroup-layout.ts'
import { cgroupV1 } from '../../../src/process/limits/cgroup-v1.ts'
import { cgroupV2 } from '../../../src/process/limits/cgroup-v2.ts'
import { rlimits } from '../../../src/process/limits/rlimits.ts'
import { RESOURCES } from '../../../src/process/limits/resources.ts'
import { type BackendUnderTest, limitBackendContract } from '../../contract/limit-backend.ts'
import { SimCgroups } from '../../support/sim-cgroups.ts'

const V1 = ['memory', 'cpu', 'pids', 'blkio', 'freezer']
const V2 = ['memory', 'cpu', 'pids', 'io', 'hugetlb']
const MIB = 1024 ** 2

const seamsOf = (sim: SimCgroups) => ({
  fs: sim,
  kill: (pid: number) => sim.kill(pid),
  disks: async () => ['8:0', '8:16'],
})

function subject(sim: SimCgroups, backend: BackendUnderTest['backend'] | undefined): BackendUnderTest {
  if (backend === undefined) throw new Error('the backend is not usable')
  return {
    backend,
    start: async () => sim.start(),
    fork: async (pid) => sim.fork(pid),
    isAlive: (pid) => sim.isAlive(pid),
  }
}

async function simV1(controllers = V1): Promise<{ sim: SimCgroups; backend: BackendUnderTest['backend'] | undefined }> {
  const sim = new SimCgroups()
  for (const name of controllers) sim.mountV1(name, `/cg/${name}`)
  const hierarchies = new Map(controllers.map((name) => [name, { mount: `/cg/${name}`, own: `/cg/${name}` }]))
  return { sim, backend: await cgroupV1(seamsOf(sim), hierarchies) }
}

async function simV2(own = '/cg', isWhole = true, prepare: (sim: SimCgroups) => Promise<void> = async () => undefined) {
  const sim = new SimCgroups()
  sim.mountV2('/cg', V2, isWhole)
  await prepare(sim)
  return { sim, backend: await cgroupV2(seamsOf(sim), { mount: '/cg', own }) }
}

t.test('cgroup v1 keeps the contract (simulated)', async (t) => {
  await limitBackendContract(t, async () => {
    const { sim, backend } = await simV1()
    return subject(sim, backend)
  })
})

t.test('cgroup v2 keeps the contract (simulated, kernel without cgroup.kill)', async (t) => {
  await limitBackendContract(t, async () => {
    const { sim, backend } = await simV2()
    return subject(sim, backend)
  })
})

t.test('cgroup v1 sets each limit in the file of its controller, one process more for the shim', async (t) => {
  const { sim, backend } = await simV1()
  const cell = backend?.cell({ node: 'n', instance: 'i', resources: RESOURCES, gather: true })
  await cell?.hold({ memory: 64 * MIB, cpu: 0.5, pids: 10, 'io.read': MIB, 'io.write': 2 * MIB })
  const group = (controller: string, file: string): string | undefined =>
    sim.files.get(`/cg/${controller}/hsu-n/i/${file}`)
  t.equal(group('memory', 'memory.limit_in_bytes'), String(64 * MIB))
  t.equal(group('memory', 'memory.memsw.limit_in_bytes'), String(64 * MIB))
  t.equal(group('cpu', 'cpu.cfs_quota_us'), '50000')
  t.equal(group('pids', 'pids.max'), '11')
  t.ok(sim.writes.includes(`/cg/blkio/hsu-n/i/blkio.throttle.read_bps_device 8:16 ${MIB}`), 'every disk')
  t.ok(sim.writes.includes(`/cg/blkio/hsu-n/i/blkio.throttle.write_bps_device 8:0 ${2 * MIB}`))
  t.same(await cell?.read(), { memory: 4_000, oomKills: 0, pids: 0 })
  t.notOk(backend?.enforces.has('io.write'), 'what passes by the page cache is not held')
  t.notOk(backend?.enforces.has('files'))
})

t.test('cgroup v1 makes groups only where something is limited, and one to gather', async (t) => {
  const { sim, backend } = await simV1()
  await backend?.cell({ node: 'n', instance: 'i', resources: ['cpu'], gather: true }).hold({ cpu: 1 })
  t.same(
    sim.groupNames.filter((name) => name.endsWith('/i')),
    ['/cg/cpu/hsu-n/i', '/cg/freezer/hsu-n/i'],
  )
})

t.test('a limit that comes while an instance runs takes in the processes it has', async (t) => {
  const { sim, backend } = await simV1()
  const cell = backend?.cell({ node: 'n', instance: 'i', resources: ['cpu'], gather: true })
  await cell?.hold({})
  const pid = sim.start()
  await cell?.enter(pid)
  await backend?.cell({ node: 'n', instance: 'i', resources: ['memory'], gather: true }).hold({ memory: MIB })
  t.equal(await sim.read('/cg/memory/hsu-n/i/cgroup.procs'), `${pid}\n`)
})

t.test('cgroup v2 sets each limit in the one group of the instance', async (t) => {
  const { sim, backend } = await simV2()
  const cell = backend?.cell({ node: 'n', instance: 'i', resources: RESOURCES, gather: true })
  await cell?.hold({ memory: 64 * MIB, cpu: 1.5, pids: 10, 'io.read': MIB })
  const file = (name: string): string | undefined => sim.files.get(`/cg/hsu-n/i/${name}`)
  t.equal(file('memory.max'), String(64 * MIB))
  t.equal(file('memory.swap.max'), '0', 'no way round by swap')
  t.equal(file('memory.high'), 'max')
  t.equal(file('cpu.max'), '150000 100000')
  t.equal(file('pids.max'), '11')
  t.ok(sim.writes.includes(`/cg/hsu-n/i/io.max 8:0 rbps=${MIB} wbps=max`))
  await cell?.hold({ memorySoft: 32 * MIB })
  t.equal(file('memory.high'), String(32 * MIB))
  t.equal(file('memory.max'), 'max')
  t.same(await cell?.read(), { memory: 4_000, oomKills: 0, pids: 0 })
})

t.test('where the node is alone in a group of its own, it steps aside and uses that', async (t) => {
  const { sim, backend } = await simV2('/cg/service', true, async (sim) => {
    await sim.write('/cg/cgroup.subtree_control', '+memory')
    await sim.mkdir('/cg/service')
    sim.put(process.pid, '/cg/service')
  })
  t.same([...(backend?.enforces ?? [])], [['memory', 'cgroup v2 memory']], 'no more than it was given')
  t.equal(await sim.read('/cg/service/hsu-node/cgroup.procs'), `${process.pid}\n`)
  await backend?.cell({ node: 'n', instance: 'i', resources: RESOURCES, gather: true }).hold({ memory: MIB })
  t.equal(sim.files.get('/cg/service/hsu-n/i/memory.max'), String(MIB))
})

t.test('a node that was started in such a leaf uses the group above', async (t) => {
  const { sim, backend } = await simV2('/cg/service/hsu-node', false, async (sim) => {
    await sim.write('/cg/cgroup.subtree_control', '+pids')
    await sim.mkdir('/cg/service')
    await sim.mkdir('/cg/service/hsu-node')
    sim.put(process.pid, '/cg/service/hsu-node')
  })
  await backend?.cell({ node: 'n', instance: 'i', resources: RESOURCES, gather: true }).hold({ pids: 1 })
  t.equal(sim.files.get('/cg/service/hsu-n/i/pids.max'), '2')
})

t.test(
  'where others share the group, nobody is moved: the whole system is used, else cells without limits',
  async (t) => {
    const shared = async (sim: SimCgroups): Promise<void> => {
      await sim.mkdir('/cg/session')
      sim.put(process.pid, '/cg/session')
      sim.put(77, '/cg/session')
    }
    const whole = await simV2('/cg/session', true, shared)
    await whole.backend?.cell({ node: 'n', instance: 'i', resources: RESOURCES, gather: true }).hold({ pids: 1 })
    t.equal(whole.sim.files.get('/cg/hsu-n/i/pids.max'), '2')
    t.equal(await whole.sim.read('/cg/session/cgroup.procs'), `${process.pid}\n77\n`)

    const part = await simV2('/cg/session', false, shared)
    t.equal(part.backend?.enforces.size, 0)
    await part.backend?.cell({ node: 'n', instance: 'i', resources: RESOURCES, gather: true }).hold({ pids: 1 })
    t.ok(part.sim.groupNames.includes('/cg/session/hsu-n/i'), 'its processes are still kept together')
    t.equal(await part.sim.read('/cg/session/cgroup.procs'), `${process.pid}\n77\n`)
  },
)

t.test('without a controller that may be used there is no cgroup backend', async (t) => {
  const sim = new SimCgroups()
  t.equal(await cgroupV1(seamsOf(sim), new Map([['memory', { mount: '/no', own: '/no' }]])), undefined)
  t.equal(await cgroupV2(seamsOf(sim), { mount: '/no', own: '/no' }), undefined)
})

t.test('rlimits hold the number of open files, said in the shell that becomes the program', async (t) => {
  const cell = rlimits.cell({ node: 'n', instance: 'i', resources: ['files'], gather: false })
  t.same([...rlimits.enforces.keys()], ['files'])
  t.match(cell.prelude({ files: 100 }), /^ulimit -n 100 /)
  t.equal(cell.prelude({ memory: 1 }), '')
})

t.test('the groups of a process are found by where the hierarchies are mounted', async (t) => {
  const mountinfo = [
    '30 24 0:26 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory',
    '31 24 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct',
    '32 24 0:28 /docker/abc /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids',
    '33 24 0:29 / /sys/fs/cgroup/uni\\040fied rw,relatime - cgroup2 cgroup2 rw',
    '34 24 0:30 / /proc rw - proc proc rw',
  ].join('\n')
  const own = '9:memory:/user/x\n8:cpu,cpuacct:/\n7:pids:/docker/abc/sub\n1:name=systemd:/\n0::/user.slice\n'
  const { v1, v2 } = parseLayout(mountinfo, own)
  t.same(v2, { mount: '/sys/fs/cgroup/uni fied', own: '/sys/fs/cgroup/uni fied/user.slice' })
  t.equal(v1.get('memory')?.own, '/sys/fs/cgroup/memory/user/x')
  t.equal(v1.get('cpu')?.own, '/sys/fs/cgroup/cpu,cpuacct')
  t.equal(v1.get('pids')?.own, '/sys/fs/cgroup/pids/sub')
  t.same(parseLayout('', ''), { v1: new Map(), v2: undefined })
})
