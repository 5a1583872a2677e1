import type { Clock } from '../base/clock.ts'
import { HsuError } from '../base/error.ts'
import type { Log } from '../base/log.ts'
import type { Store } from '../base/store.ts'
import { createTaskGroup, type TaskGroup } from '../base/task-group.ts'
import { type Transition, watchUnmanaged } from './attach.ts'
import type { Origin, Tell } from './causes.ts'
import type { FindConfig } from './config.ts'
import { describeCandidates, type FindSeams, methodOf } from './find.ts'
import type { MainPidOf } from './find-service.ts'
import type { ProcessHost } from './host.ts'
import type { ProcessIdentity } from './identity.ts'
import type { UnitSpec } from './launch.ts'
import type { Meter } from './meter.ts'
import { deletePin, readPin, writePin } from './pins.ts'
import type { GrpcProber } from './probes/grpc.ts'
import type { InstanceStatus } from './status.ts'
import { createTrail } from './trail.ts'
import type { News } from './unit-news.ts'
import { fixedPorts, Vigil } from './vigil.ts'

export interface UnmanagedSeams {
  readonly clock: Clock
  readonly log: Log
  readonly store: Store
  readonly host: ProcessHost
  readonly grpc: GrpcProber
  readonly mainPidOf: MainPidOf
  readonly meter: Pick<Meter, 'track'>
  /** Measures often what has limits. */
  readonly limitMeter: Pick<Meter, 'track'>
  readonly publish: Tell
  readonly changed: (status: InstanceStatus) => void
}

interface Found {
  readonly identity: ProcessIdentity
  readonly instance: string
  readonly startedAtMs: number | undefined
  readonly vigil: Vigil
}

/** An unmanaged unit: its process is looked for and watched, never owned. */
export class UnmanagedUnit {
  readonly #seams: UnmanagedSeams
  readonly #log: Log
  readonly #trail
  #spec: UnitSpec
  #tasks: TaskGroup
  #found: Found | undefined
  #state: 'absent' | 'up' | 'ambiguous' = 'absent'
  #ready = false
  #reason = 'not looked for yet'
  /** How often a process took the place of one that was lost. */
  #replaced = -1
  /** Somebody signalled the process: its end, should it come, follows from that. */
  #signalled = false
  #looked = (): void => undefined

  constructor(seams: UnmanagedSeams, spec: UnitSpec) {
    this.#seams = seams
    this.#spec = spec
    this.#log = seams.log.with({ unit: spec.name })
    this.#tasks = this.#newTasks()
    this.#trail = createTrail(spec.name, '', seams.publish)
  }

  get status(): InstanceStatus {
    const found = this.#found
    return {
      unit: this.#spec.name,
      instance: found?.instance ?? '',
      replica: 0,
      kind: 'unmanaged',
      state: this.#state,
      ready: this.#ready,
      pid: found?.identity.pid,
      startedAtMs: found?.startedAtMs,
      restarts: Math.max(0, this.#replaced),
      cpu: found?.vigil.usage?.cpu ?? 0,
      rssBytes: found?.vigil.usage?.rssBytes ?? 0,
      usage: found?.vigil.usage,
      ports: fixedPorts(this.#spec),
      exit: undefined,
      reason: this.#reason,
      want: 'up',
      limits: found?.vigil.limits ?? [],
      retryAtMs: undefined,
      eventId: this.#trail.head,
      health: found && { state: found.vigil.state, checks: found.vigil.checks },
      origin: this.#spec.origin ?? 'configuration',
    }
  }

  /** The very process that was found; undefined while there is none. */
  get identity(): ProcessIdentity | undefined {
    return this.#found?.identity
  }

  /** Begins to look. Resolves when the first look has told whether the process is there. `known` = as what it was found. */
  begin(known?: ProcessIdentity): Promise<void> {
    const { find } = this.#spec.config
    if (find === undefined) throw new HsuError('CONFIG_INVALID', `unmanaged unit '${this.#spec.name}' has no 'find'`)
    const { clock } = this.#seams
    const seams = { ...this.#findSeams(), clock }
    return new Promise((resolve) => {
      this.#looked = resolve
      this.#tasks.run(async (signal) => {
        try {
          const pinned = await this.#pinned(find)
          await watchUnmanaged(seams, { find, known: known ?? pinned }, (next) => this.#take(next), signal)
        } finally {
          resolve()
        }
      })
    })
  }

  /** Looks anew, by the changed description. */
  async reconfigure(spec: UnitSpec): Promise<void> {
    if (JSON.stringify(spec.config) === JSON.stringify(this.#spec.config)) return
    await this.end()
    this.#spec = spec
    this.#tasks = this.#newTasks()
    void this.begin()
  }

  /** Looks no longer; for good = also forgets whom a bare pid meant. The process is not touched. */
  async end(how: 'for now' | 'for good' = 'for now'): Promise<void> {
    this.#forget()
    await this.#tasks.stop()
    if (how === 'for good') await deletePin(this.#seams.store, this.#spec.name)
  }

  /** @throws HsuError `NOT_PERMITTED` unless the configuration allows it, `NOT_STARTED` when there is no process */
  async signal(name: NodeJS.Signals, origin: Origin = { causedBy: '' }): Promise<void> {
    const { name: unit, config } = this.#spec
    this.#trail.follow(origin.causedBy)
    if (!config.allow.signal) {
      const text = `unit '${unit}' is unmanaged and may not be signalled; ${howToAllow(this.#spec)}`
      this.#tell({ type: 'unit.refused', reason: text, details: { signal: name }, cause: '', follows: true })
      throw new HsuError('NOT_PERMITTED', text, { details: { unit } })
    }
    const found = this.#found
    if (found !== undefined && (await this.#seams.host.signal(found.identity, name))) {
      this.#signalled = true
      return
    }
    throw new HsuError('NOT_STARTED', `unit '${unit}' has no process to signal: it is ${this.#state}`, {
      details: { unit },
    })
  }

  #newTasks(): TaskGroup {
    return createTaskGroup((error) => this.#log.error('watching an unmanaged unit met a fault', { error }))
  }

  /** Whom a bare pid meant when it was first looked for, perhaps by an earlier node. */
  async #pinned({ pid }: FindConfig): Promise<ProcessIdentity | undefined> {
    return pid === undefined ? undefined : readPin(this.#seams.store, this.#spec.name, pid, this.#log)
  }

  #findSeams(): FindSeams {
    const { host, mainPidOf } = this.#seams
    return { table: host.table, selfPid: process.pid, baseDir: this.#spec.baseDir, mainPidOf }
  }

  #take(next: Transition): void {
    switch (next.kind) {
      case 'found':
        this.#tasks.run((signal) => this.#hold(next.identity, signal))
        return
      case 'lost':
        this.#become('absent', next.reason)
        this.#tell({
          type: 'unit.lost',
          reason: next.reason,
          details: { pid: String(next.identity.pid) },
          cause: '',
          follows: this.#signalled,
        })
        this.#signalled = false
        return
      case 'absent':
        this.#become('absent', next.reason)
        return
      case 'ambiguous': {
        const pids = next.candidates.map(({ pid }) => pid).join(', ')
        const reason = describeCandidates(next.candidates)
        this.#become('ambiguous', reason)
        this.#tell({ type: 'unit.ambiguous', reason, details: { pids }, cause: '', follows: false })
      }
    }
  }

  async #hold(identity: ProcessIdentity, signal: AbortSignal): Promise<void> {
    const { host, store } = this.#seams
    const { name, config } = this.#spec
    if (config.find?.pid !== undefined) await writePin(store, name, identity)
    const { startedAtMs } = (await host.table.get(identity.pid)) ?? {}
    if (signal.aborted) return
    this.#forget()
    const instance = `${name}-0-${identity.pid}`
    const found: Found = { identity, instance, startedAtMs, vigil: this.#vigil(identity, instance) }
    this.#found = found
    this.#replaced += 1
    this.#become('up', '')
    const details = {
      pid: String(identity.pid),
      ...(startedAtMs === undefined ? {} : { startedAtMs: `${startedAtMs}` }),
    }
    const method = config.find === undefined ? '' : methodOf(config.find)
    const reason = `process ${identity.pid} was found by ${method}`
    this.#tell({ type: 'unit.found', reason, details: { ...details, method }, cause: '', follows: false })
    found.vigil.begin()
    this.#judge()
  }

  #vigil(identity: ProcessIdentity, instance: string): Vigil {
    const { clock, host, grpc, meter, limitMeter } = this.#seams
    const tell = (news: News): string => this.#tell(news)
    const changed = (): void => this.#judge()
    const seams = { clock, log: this.#log, host, grpc, meter, limitMeter, tasks: this.#tasks, tell, changed }
    return new Vigil(seams, { spec: this.#spec, identity, instance })
  }

  #judge(): void {
    const vigil = this.#found?.vigil
    if (vigil === undefined) return
    const { ready, reason } = vigil
    const isNews = ready !== this.#ready
    this.#ready = ready
    this.#reason = reason
    if (isNews) {
      const type = ready ? 'unit.ready' : 'unit.unready'
      this.#tell({ type, reason, details: {}, cause: '', follows: true })
    }
    this.#seams.changed(this.status)
  }

  #become(state: 'absent' | 'up' | 'ambiguous', reason: string): void {
    if (state !== 'up') this.#forget()
    this.#state = state
    this.#ready = false
    this.#reason = reason
    this.#seams.changed(this.status)
    this.#looked()
  }

  #forget(): void {
    this.#found?.vigil.end()
    this.#found = undefined
  }

  #tell(news: News): string {
    return this.#trail.tell(news, this.#found?.instance ?? '')
  }
}

function howToAllow({ name, origin }: UnitSpec): string {
  const again = `detach it and attach it again with --allow-signal to let people do so`
  return origin === undefined ? `set 'allow: { signal: true }' to let people do so` : `${again} (hsu detach ${name})`
}
