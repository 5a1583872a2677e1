import { basename, dirname } from 'node:path'
import type { CgroupFs } from '../../src/process/limits/cgroup-fs.ts'

/** Files that a group has besides `cgroup.procs`. */
const FILES_V1: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  freezer: { 'freezer.state': 'THAWED' },
  pids: { 'pids.max': 'max', 'pids.current': '1' },
  memory: {
    'memory.limit_in_bytes': '-1',
    'memory.memsw.limit_in_bytes': '-1',
    'memory.usage_in_bytes': '5000',
    'memory.stat': 'cache 9\ntotal_inactive_file 1000\n',
    'memory.oom_control': 'oom_kill_disable 0\nunder_oom 0\noom_kill 0\n',
  },
  cpu: { 'cpu.cfs_period_us': '100000', 'cpu.cfs_quota_us': '-1' },
  blkio: { 'blkio.throttle.read_bps_device': '', 'blkio.throttle.write_bps_device': '' },
}

const FILES_V2: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  cgroup: { 'cgroup.subtree_control': '', 'cgroup.freeze': '0', 'cgroup.type': 'domain' },
  memory: {
    'memory.max': 'max',
    'memory.high': 'max',
    'memory.swap.max': 'max',
    'memory.current': '5000',
    'memory.stat': 'anon 4000\ninactive_file 1000\n',
    'memory.events': 'low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\n',
  },
  cpu: { 'cpu.max': 'max 100000' },
  pids: { 'pids.max': 'max', 'pids.current': '1' },
  io: { 'io.max': '' },
}

/** A kernel with control groups, as far as their files show it; for what the machine of the test does not have. */
export class SimCgroups implements CgroupFs {
  /** Content of each file, by path. */
  readonly files = new Map<string, string>()
  /** Each write, in order: `path text`. */
  readonly writes: string[] = []
  readonly #groups = new Set<string>()
  /** For each process its group in each hierarchy, by mount point. */
  readonly #processes = new Map<number, Map<string, string>>()
  readonly #mounts: string[] = []
  #nextPid = 1_000

  /** A hierarchy of version 1. */
  mountV1(controller: string, path: string): void {
    this.#mounts.push(path)
    this.#groups.add(path)
    this.#fill(path, FILES_V1[controller] ?? {})
  }

  /** The hierarchy of version 2. Below `/`, what is mounted is not the whole, as in a container. */
  mountV2(path: string, controllers: readonly string[], isWhole = true): void {
    this.#mounts.push(path)
    this.#groups.add(path)
    this.#fill(path, { 'cgroup.subtree_control': '', 'cgroup.controllers': controllers.join(' ') })
    if (!isWhole) this.#fill(path, { 'cgroup.type': 'domain' })
  }

  get groupNames(): string[] {
    return [...this.#groups].sort()
  }

  start(): number {
    const pid = this.#nextPid++
    this.#processes.set(pid, new Map())
    return pid
  }

  fork(parent: number): number {
    const pid = this.start()
    this.#processes.set(pid, new Map(this.#processes.get(parent)))
    return pid
  }

  isAlive(pid: number): boolean {
    return this.#processes.has(pid)
  }

  kill(pid: number): void {
    this.#processes.delete(pid)
  }

  put(pid: number, group: string): void {
    const mount = this.#mounts.find((each) => group === each || group.startsWith(`${each}/`)) ?? ''
    const groups = this.#processes.get(pid) ?? new Map<string, string>()
    groups.set(mount, group)
    this.#processes.set(pid, groups)
  }

  async read(path: string): Promise<string> {
    if (basename(path) === 'cgroup.procs')
      return this.#members(dirname(path))
        .map((pid) => `${pid}\n`)
        .join('')
    const content = this.files.get(path)
    if (content === undefined) throw fault('ENOENT', path)
    return content
  }

  async write(path: string, text: string): Promise<void> {
    const [group, name] = [dirname(path), basename(path)]
    if (!this.#groups.has(group)) throw fault('ENOENT', path)
    if (text === '') return
    this.writes.push(`${path} ${text}`)
    if (name === 'cgroup.procs') {
      if (this.#controlled(group)) throw fault('EBUSY', path)
      this.put(Number(text), group)
    } else if (name === 'cgroup.subtree_control') this.#enable(group, text.slice(1), path)
    else if (!this.files.has(path)) throw fault('ENOENT', path)
    else this.files.set(path, text)
  }

  async mkdir(path: string): Promise<boolean> {
    if (this.#groups.has(path)) return false
    if (!this.#groups.has(dirname(path))) throw fault('ENOENT', path)
    this.#groups.add(path)
    const above = dirname(path)
    if (this.files.has(`${above}/cgroup.subtree_control`)) {
      this.#fill(path, {
        ...FILES_V2['cgroup'],
        'cgroup.controllers': this.files.get(`${above}/cgroup.subtree_control`) ?? '',
      })
      for (const name of this.#enabled(above)) this.#fill(path, FILES_V2[name] ?? {})
    } else {
      for (const files of Object.values(FILES_V1)) {
        const [first = ''] = Object.keys(files)
        if (this.files.has(`${above}/${first}`)) this.#fill(path, files)
      }
    }
    return true
  }

  async rmdir(path: string): Promise<boolean> {
    if (!this.#groups.has(path)) return true
    const isBusy = this.#members(path).length > 0 || [...this.#groups].some((group) => group.startsWith(`${path}/`))
    if (isBusy) return false
    this.#groups.delete(path)
    for (const file of this.files.keys()) if (dirname(file) === path) this.files.delete(file)
    return true
  }

  async groups(path: string): Promise<readonly string[]> {
    return [...this.#groups].filter((group) => dirname(group) === path).map((group) => basename(group))
  }

  #members(group: string): number[] {
    return [...this.#processes].flatMap(([pid, groups]) => ([...groups.values()].includes(group) ? [pid] : []))
  }

  #enabled(group: string): readonly string[] {
    return (this.files.get(`${group}/cgroup.subtree_control`) ?? '').split(' ').filter((name) => name !== '')
  }

  /** A group that hands controllers on takes no process, and the other way round; only the whole system's may do both. */
  #controlled(group: string): boolean {
    return this.files.has(`${group}/cgroup.type`) && this.#enabled(group).length > 0
  }

  #enable(group: string, controller: string, path: string): void {
    if (this.files.has(`${group}/cgroup.type`) && this.#members(group).length > 0) throw fault('EBUSY', path)
    if (!(this.files.get(`${group}/cgroup.controllers`) ?? '').split(' ').includes(controller))
      throw fault('ENOENT', path)
    this.files.set(path, [...new Set([...this.#enabled(group), controller])].join(' '))
  }

  #fill(group: string, files: Readonly<Record<string, string>>): void {
    for (const [name, content] of Object.entries(files)) this.files.set(`${group}/${name}`, content)
  }
}

function fault(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${path}`), { code })
}
