import type { Clock } from '../../base/clock.ts'
import { messageOf } from '../../base/error.ts'
import { background, type Service } from '../../base/lifecycle.ts'
import type { Log } from '../../base/log.ts'
import { createTaskGroup } from '../../base/task-group.ts'
import type { OnCall } from '../../mesh/index.ts'
import { type InstanceStatus, sleepTermsOf, type SleepTerms, type Supervisor } from '../../process/index.ts'
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
  /** How a unit of this node is started by calls; undefined when it is not. */
  onCallOf(unit: string): OnCall | undefined
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
  const waker = createWaker({ clock, supervisor, termsOf })
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
      const woken = await mesh.wake(sleeper, caller, signal)
      return endpointsOf(sleeper.unit, woken, world)
    },
    wake(unit, { here, ...wish }, signal) {
      const isOurs = supervisor.spec(unit) !== undefined
      // One that is not started by calls is no matter of choice.
      if (here || (isOurs && onCallOf(unit) === undefined)) return wakeHere(unit, wish, signal)
      return mesh.decide(unit, wish, signal)
    },
    onCallOf,
  }

  function onCallOf(unit: string): OnCall | undefined {
    const terms = termsOf(unit)
    return terms && { holdMs: terms.holdMs }
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
