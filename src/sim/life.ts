import type { Clock } from '../base/clock.ts'
import { below, type Random } from '../base/random.ts'
import type { Store } from '../base/store.ts'
import type { EventDisk } from '../node/index.ts'
import type { Child, ProcessHost } from '../process/index.ts'

/** The life of one process of a node. Once it is over, as by SIGKILL, nothing it waits for ever comes, and nothing it does happens. */
export interface Life {
  over: boolean
}

/** What a dead process waits for. One of its own each time: what waits for one that all share is kept as long as that. */
const never = (): Promise<never> => new Promise(() => undefined)

/** The longest time an act of the disk or the system takes to begin, and to be learnt of, so that a node can die in the middle of it. */
const MAX_ACT_MS = 3

interface Bound {
  /** The answer, unless the process has died meanwhile. */
  readonly alive: <T>(value: Promise<T>) => Promise<T>
  /** The same for what takes a moment: the process may die before it happens, and before it learns that it happened. */
  readonly act: <T>(task: () => Promise<T>) => Promise<T>
}

/** How a process that may die meets the rest of its machine. */
export interface Mortal {
  clock(clock: Clock): Clock
  store(store: Store): Store
  events(disk: EventDisk): EventDisk
  host(host: ProcessHost): ProcessHost
}

export function mortal(life: Life, sleep: (ms: number) => Promise<void>, random: Random): Mortal {
  const bound: Bound = {
    alive: async (value) => {
      const settled = await value.then(
        (result) => () => result,
        (error: unknown) => () => {
          throw error
        },
      )
      return life.over ? never() : settled()
    },
    act: async (task) => {
      await bound.alive(sleep(below(MAX_ACT_MS, random)))
      const done = task()
      done.catch(() => undefined)
      await sleep(below(MAX_ACT_MS, random))
      return bound.alive(done)
    },
  }
  return {
    clock: (clock) => ({
      nowMs: () => clock.nowMs(),
      wallMs: () => clock.wallMs(),
      sleep: (ms, signal) => bound.alive(clock.sleep(ms, signal)),
    }),
    store: (store) => mortalStore(store, bound),
    events: (disk) => mortalEvents(disk, bound),
    host: (host) => mortalHost(host, bound),
  }
}

function mortalStore(store: Store, { alive, act }: Bound): Store {
  return {
    get: (key) => alive(store.get(key)),
    put: (key, value, outlives) => act(() => store.put(key, value, outlives)),
    delete: (key) => act(() => store.delete(key)),
    list: (prefix) => alive(store.list(prefix)),
    setAside: (key) => act(() => store.setAside(key)),
  }
}

function mortalEvents(disk: EventDisk, { alive, act }: Bound): EventDisk {
  return {
    list: () => alive(disk.list()),
    read: (id) => alive(disk.read(id)),
    append: (id, text) => act(() => disk.append(id, text)),
    sync: (id) => act(() => disk.sync(id)),
    truncate: (id, bytes) => act(() => disk.truncate(id, bytes)),
    remove: (id) => act(() => disk.remove(id)),
    close: () => alive(disk.close()),
  }
}

function mortalHost(host: ProcessHost, { alive, act }: Bound): ProcessHost {
  const childOf = (child: Child): Child => ({ ...child, exited: alive(child.exited) })
  return {
    table: { ...host.table, bootId: () => act(() => host.table.bootId()) },
    environment: () => host.environment(),
    spawn: async (request) => childOf(await act(() => host.spawn(request))),
    async adopt(left) {
      const found = await act(() => host.adopt(left))
      return 'gone' in found ? found : childOf(found)
    },
    signal: (target, signal) => act(() => host.signal(target, signal)),
    signalGroup: (kin, signal) => act(() => host.signalGroup(kin, signal)),
    kernelLimits: () => alive(host.kernelLimits()),
    cellOf: (directory) => alive(host.cellOf(directory)),
    instances: (runDir) => alive(host.instances(runDir)),
    discard: (directory) => act(() => host.discard(directory)),
    run: (argv, options, signal) => alive(host.run(argv, options, signal)),
    freePort: () => alive(host.freePort()),
    isPortFree: (port) => alive(host.isPortFree(port)),
    ...(host.reach && { reach: host.reach }),
  }
}
