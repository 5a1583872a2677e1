import { aborted, withSignal } from '../../base/abort.ts'
import type { Clock } from '../../base/clock.ts'
import { messageOf } from '../../base/error.ts'
import { background, type Service } from '../../base/lifecycle.ts'
import type { Log } from '../../base/log.ts'
import { createTaskGroup } from '../../base/task-group.ts'
import { createWake } from '../../base/wake.ts'
import type { OnCall } from '../../mesh/index.ts'
import {
  DEFAULT_HOLD_MS,
  type InstanceStatus,
  isJob,
  sleepTermsOf,
  type SleepTerms,
  type Supervisor,
} from '../../process/index.ts'
import type { Endpoint, Sleeper } from '../../rpc/index.ts'
import type { WorldView } from '../world-view.ts'
import type { UnitInit } from '../to-proto.ts'
import { type Traffic, watchIdle } from './idle-watch.ts'
import { createMeshWaker, type MeshWakerSeams, type Woken } from './mesh-waker.ts'
import { replicasOf } from './wake-state.ts'
import { createWaker, type Wish } from './waker.ts'

export interface ActivationSeams extends Pick<MeshWakerSeams, 'wakeElsewhere'> {
  readonly clock: Clock
  readonly log: Log
  readonly nodeId: string
  readonly nodeName: string
  readonly supervisor: Supervisor
  readonly world: WorldView
  readonly traffic: Traffic
  /** How long calls wait for a unit, where that is configured; 0 = not at all. */
  readonly holdOf: (unit: string) => number | undefined
  /** An instance of this node as the control API shows it. */
  readonly describe: (status: InstanceStatus) => UnitInit
}

/** Units that sleep: wakes them for calls, and puts them to sleep when they have nothing to do. */
export interface Activation extends Service {
  /** For a call that came to this node; resolves with what it may go to. @throws HsuError `WAKE_FAILED`, ... */
  wakeForCall(sleeper: Sleeper, signal: AbortSignal): Promise<readonly Endpoint[]>
  /**
   * For another node, or a person. `here`: on this node, instead of on the best one of the mesh; `forCall`: only when
   * calls may start it.
   *
   * @throws HsuError `WAKE_FAILED`, `UNIT_NOT_FOUND`, `UNIT_NOT_MANAGED`
   */
  wake(unit: string, terms: WakeTerms, signal: AbortSignal): Promise<Woken>
  /** What becomes of calls while a unit of this node is not ready; undefined when they do not wait for it. */
  onCallOf(unit: string): OnCall | undefined
  /** How long those who need a unit of this node wait for it, in ms. */
  holdMsOf(unit: string): number
}

export interface WakeTerms extends Wish {
  readonly here: boolean
}

export function createActivation(seams: ActivationSeams): Activation {
  const { clock, log, nodeId, nodeName, supervisor, world, traffic, wakeElsewhere } = seams
  const termsOf = (unit: string): SleepTerms | undefined => {
    const spec = supervisor.spec(unit)
    return spec && sleepTermsOf(spec.config)
  }
  const waker = createWaker({
    ...{ clock, supervisor },
    patienceOf: (unit) => ({ sleeps: termsOf(unit) !== undefined, holdMs: holdMsOf(unit) }),
  })
  const wakeHere = async (unit: string, wish: Wish, signal: AbortSignal): Promise<Woken> => {
    await waker.wake(unit, wish, signal)
    const ready = replicasOf(unit, supervisor.status()).filter((each) => each.ready)
    return { nodeId, instances: ready.map(seams.describe) }
  }
  const mesh = createMeshWaker({ clock, nodeId, world, wakeElsewhere, wakeHere })
  const caller: Wish = { asker: { actor: `a call through node ${nodeName}` }, forCall: true }
  const tasks = createTaskGroup((error) =>
    log.warn('a unit is not woken for one that needs it', { cause: messageOf(error) }),
  )

  /** What waits for a unit that sleeps, needs it as a call does. */
  const forDependants = supervisor.events.subscribe(({ type, id, details }) => {
    const awaited = details['for']
    if (type !== 'unit.waiting' || awaited === undefined || termsOf(awaited) === undefined) return
    tasks.run((signal) => supervisor.wakeUnit(awaited, signal, { actor: '', causedBy: id }))
  })

  const idle = background('activation', (signal) => watchIdle({ clock, log, supervisor, termsOf, traffic }, signal))

  return {
    name: 'activation',
    start: () => idle.start(),
    async stop() {
      forDependants()
      await tasks.stop()
      await idle.stop()
    },
    async wakeForCall(sleeper, signal) {
      const becomesReady = sightOf(sleeper, world)
      return withSignal(signal, async (inner) => {
        const woken = mesh.wake(sleeper, caller, inner).then((woken) => endpointsOf(sleeper.unit, woken, world))
        return Promise.race([woken, becomesReady(inner)])
      })
    },
    wake(unit, { here, ...wish }, signal) {
      const isOurs = supervisor.spec(unit) !== undefined
      // One that is not started by calls is no matter of choice.
      if (here || (isOurs && !wish.forCall && termsOf(unit) === undefined)) return wakeHere(unit, wish, signal)
      return mesh.decide(unit, wish, signal)
    },
    onCallOf,
    holdMsOf,
  }

  function holdMsOf(unit: string): number {
    return seams.holdOf(unit) ?? termsOf(unit)?.holdMs ?? DEFAULT_HOLD_MS
  }

  function onCallOf(unit: string): OnCall | undefined {
    const terms = termsOf(unit)
    const config = supervisor.spec(unit)?.config
    if (terms === undefined && (config?.kind !== 'integrated' || isJob(config))) return undefined
    const holdMs = holdMsOf(unit)
    return terms === undefined && holdMs === 0 ? undefined : { holdMs, starts: terms !== undefined }
  }
}

/** Resolves with what becomes ready of a unit from now on: when another node is faster than the one that was asked. */
function sightOf({ unit, node }: Sleeper, world: WorldView): (signal: AbortSignal) => Promise<readonly Endpoint[]> {
  const readyNow = (): readonly Endpoint[] =>
    world.endpoints
      .byUnit(unit)
      .filter((each) => each.ready && (node === undefined || each.node === node || each.nodeId === node))
  const before = new Set(readyNow().map(({ instance }) => instance))
  return async (signal) => {
    const end = aborted(signal)
    const changed = createWake()
    const unsubscribe = world.changes.subscribe(changed.notify)
    try {
      for (;;) {
        const fresh = readyNow().filter(({ instance }) => !before.has(instance))
        if (fresh.length > 0) return fresh
        await Promise.race([changed.wait(), end])
        signal.throwIfAborted()
      }
    } finally {
      unsubscribe()
    }
  }
}

/** What is ready there; the registry may not have heard of it yet. */
function endpointsOf(unit: string, { nodeId, instances }: Woken, world: WorldView): readonly Endpoint[] {
  const known = world.endpoints.byUnit(unit).filter((each) => each.nodeId === nodeId && each.ready)
  const names = instances.map(({ instance = '' }) => instance)
  const news = names.filter((instance) => !known.some((each) => each.instance === instance))
  const node = world.members().find((member) => member.nodeId === nodeId)?.record?.name ?? nodeId
  const made = news.map((instance): Endpoint => {
    return { unit, instance, nodeId, node, address: '', ready: true, version: undefined }
  })
  return [...known, ...made]
}
