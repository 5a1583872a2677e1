import type { Clock } from '../../src/base/clock.ts'
import { below, type Random } from '../../src/base/random.ts'
import type { Store } from '../../src/base/store.ts'
import type { Child, ProcessHost } from '../../src/process/host.ts'

/** The life of a simulated node. Once it is over, as by SIGKILL, nothing the node waits for ever comes, and nothing it does happens. */
export interface Life {
  over: boolean
}

export interface MortalSeams {
  readonly clock: Clock
  readonly random: Random
  readonly store: Store
  readonly host: ProcessHost
}

/** The longest time that one act of the system takes here, so that a node can die in the middle of it. */
const MAX_ACT_MS = 4

/** The seams as a node sees them that can die at any moment, before, during and after each act. */
export function mortal({ clock, random, store, host }: MortalSeams, life: Life): MortalSeams {
  const alive = async <T>(value: Promise<T>): Promise<T> => {
    const settled = await value.then(
      (result) => () => result,
      (error: unknown) => () => {
        throw error
      },
    )
    // One of its own each time: what waits for one that all share is kept as long as that.
    return life.over ? new Promise<never>(() => undefined) : settled()
  }
  const act = async <T>(task: () => Promise<T>): Promise<T> => {
    await alive(clock.sleep(below(MAX_ACT_MS, random)))
    const done = task()
    done.catch(() => undefined)
    await clock.sleep(below(MAX_ACT_MS, random))
    return alive(done)
  }
  const childOf = (child: Child): Child => ({ ...child, exited: alive(child.exited) })
  return {
    random,
    clock: {
      nowMs: () => clock.nowMs(),
      wallMs: () => clock.wallMs(),
      sleep: (ms, signal) => alive(clock.sleep(ms, signal)),
    },
    store: {
      get: (key) => alive(store.get(key)),
      put: (key, value) => act(() => store.put(key, value)),
      delete: (key) => act(() => store.delete(key)),
      list: (prefix) => alive(store.list(prefix)),
      setAside: (key) => act(() => store.setAside(key)),
    },
    host: {
      table: { ...host.table, bootId: () => act(() => host.table.bootId()) },
      environment: () => host.environment(),
      spawn: async (request) => childOf(await act(() => host.spawn(request))),
      async adopt(left) {
        const found = await act(() => host.adopt(left))
        return 'gone' in found ? found : childOf(found)
      },
      signal: (target, signal) => act(() => host.signal(target, signal)),
      signalGroup: (child, signal) => act(() => host.signalGroup(child, signal)),
      kernelLimits: () => alive(host.kernelLimits()),
      cellOf: (directory) => alive(host.cellOf(directory)),
      instances: (runDir) => alive(host.instances(runDir)),
      discard: (directory) => act(() => host.discard(directory)),
      run: (argv, options, signal) => alive(host.run(argv, options, signal)),
      freePort: () => alive(host.freePort()),
      isPortFree: (port) => alive(host.isPortFree(port)),
    },
  }
}
