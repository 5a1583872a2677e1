import type { Clock } from '../base/clock.ts'
import { HsuError } from '../base/error.ts'
import type { Log } from '../base/log.ts'
import { createTaskGroup, type TaskGroup } from '../base/task-group.ts'
import { type Transition, watchUnmanaged } from './attach.ts'
import type { Tell } from './causes.ts'
import { describeProbeFault, watchInstanceHealth } from './health.ts'
import type { ProcessHost } from './host.ts'
import type { ProcessIdentity } from './identity.ts'
import { type UnitSpec, workingDirectory } from './launch.ts'
import type { Meter } from './meter.ts'
import type { GrpcProber } from './probes/grpc.ts'
import type { InstanceStatus, ProcessEvent } from './status.ts'
import { expandTemplates, templateValues } from './templates.ts'
import { createTrail } from './trail.ts'
import type { Usage } from './usage.ts'

export interface UnmanagedSeams {
  readonly clock: Clock
  readonly log: Log
  readonly host: ProcessHost
  readonly grpc: GrpcProber
  readonly meter: Pick<Meter, 'track'>
  readonly publish: Tell
  readonly changed: (status: InstanceStatus) => void
}

interface Found {
  readonly identity: ProcessIdentity
  readonly instance: string
  readonly startedAtMs: number | undefined
  readonly life: AbortController
  readonly untrack: () => void
  usage: Usage | undefined
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
      cpu: found?.usage?.cpu ?? 0,
      rssBytes: found?.usage?.rssBytes ?? 0,
      usage: found?.usage,
      ports: fixedPorts(this.#spec),
      exit: undefined,
      reason: this.#reason,
      want: 'up',
      limits: [],
      retryAtMs: undefined,
      eventId: this.#trail.head,
    }
  }

  begin(): void {
    const { find } = this.#spec.config
    if (find === undefined) throw new HsuError('CONFIG_INVALID', `unmanaged unit '${this.#spec.name}' has no 'find'`)
    const { clock, host } = this.#seams
    const seams = { clock, table: host.table, selfPid: process.pid, baseDir: this.#spec.baseDir }
    this.#tasks.run((signal) => watchUnmanaged(seams, { find }, (next) => this.#take(next), signal))
  }

  /** Looks anew, by the changed description. */
  async reconfigure(spec: UnitSpec): Promise<void> {
    if (JSON.stringify(spec.config) === JSON.stringify(this.#spec.config)) return
    await this.end()
    this.#spec = spec
    this.#tasks = this.#newTasks()
    this.begin()
  }

  /** Looks no longer. The process is not touched. */
  async end(): Promise<void> {
    this.#forget()
    await this.#tasks.stop()
  }

  /** @throws HsuError `NOT_PERMITTED` unless the configuration allows it, `NOT_STARTED` when there is no process */
  async signal(name: NodeJS.Signals): Promise<void> {
    const { name: unit, config } = this.#spec
    if (!config.allow.signal) {
      const how = `set 'allow: { signal: true }' to let people do so`
      throw new HsuError('NOT_PERMITTED', `unit '${unit}' is unmanaged and may not be signalled; ${how}`, {
        details: { unit },
      })
    }
    const found = this.#found
    if (found !== undefined && (await this.#seams.host.signal(found.identity, name))) return
    throw new HsuError('NOT_STARTED', `unit '${unit}' has no process to signal: it is ${this.#state}`, {
      details: { unit },
    })
  }

  #newTasks(): TaskGroup {
    return createTaskGroup((error) => this.#log.error('watching an unmanaged unit met a fault', { error }))
  }

  #take(next: Transition): void {
    switch (next.kind) {
      case 'found':
        this.#tasks.run(() => this.#hold(next.identity))
        return
      case 'lost':
        this.#become('absent', next.reason)
        this.#publish('unit.lost', next.reason, { pid: String(next.identity.pid) })
        return
      case 'absent':
        this.#become('absent', next.reason)
        return
      case 'ambiguous': {
        const pids = next.candidates.map(({ pid }) => pid).join(', ')
        const reason = `several processes match (${pids}); add 'args', or use 'pid_file' or 'port'`
        this.#become('ambiguous', reason)
        this.#publish('unit.ambiguous', reason, { pids })
      }
    }
  }

  async #hold(identity: ProcessIdentity): Promise<void> {
    const { startedAtMs } = (await this.#seams.host.table.get(identity.pid)) ?? {}
    this.#forget()
    const found: Found = {
      identity,
      instance: `${this.#spec.name}-0-${identity.pid}`,
      startedAtMs,
      life: new AbortController(),
      usage: undefined,
      untrack: this.#seams.meter.track(identity, (usage) => {
        found.usage = usage
      }),
    }
    this.#found = found
    this.#replaced += 1
    this.#become('up', '')
    this.#publish('unit.found', '', { pid: String(identity.pid) })
    this.#tasks.run(() => this.#watchHealth(found))
  }

  async #watchHealth(found: Found): Promise<void> {
    const { name, config, variables } = this.#spec
    const { clock, host, grpc } = this.#seams
    const ports = fixedPorts(this.#spec)
    const values = templateValues({ unit: name, instance: found.instance, replica: 0, ports, ...variables })
    const grpcPort = ports['grpc'] ?? Object.values(ports)[0]
    const subject = {
      kind: config.kind,
      // What is not ours is not restarted: a liveness probe has nothing to bring about.
      probes: { ...config.probes, live: undefined },
      identity: found.identity,
      rootPid: found.identity.pid,
      expand: (text: string) => expandTemplates(text, values),
      grpcPort,
      grpcAddress: grpcPort === undefined ? undefined : `127.0.0.1:${grpcPort}`,
      cwd: workingDirectory(this.#spec),
      env: host.environment(),
      user: config.user,
      starting: true,
    }
    try {
      const seams = { clock, table: host.table, run: host.run, grpc }
      await watchInstanceHealth(
        subject,
        seams,
        (type, reason) => this.#judge(found, type === 'ready', reason),
        found.life.signal,
      )
    } catch (thrown) {
      this.#judge(found, false, describeProbeFault(thrown))
    }
  }

  #judge(found: Found, ready: boolean, reason: string): void {
    if (this.#found !== found || found.life.signal.aborted) return
    const changed = this.#ready !== ready
    this.#ready = ready
    this.#reason = reason
    if (changed) this.#publish(ready ? 'unit.ready' : 'unit.unready', reason, {})
    this.#seams.changed(this.status)
  }

  #become(state: 'absent' | 'up' | 'ambiguous', reason: string): void {
    if (state !== 'up') this.#forget()
    this.#state = state
    this.#ready = false
    this.#reason = reason
    this.#seams.changed(this.status)
  }

  #forget(): void {
    this.#found?.life.abort()
    this.#found?.untrack()
    this.#found = undefined
  }

  #publish(type: ProcessEvent['type'], reason: string, details: Readonly<Record<string, string>>): void {
    const instance = this.#found?.instance ?? ''
    this.#trail.tell({ type, reason, details, cause: '', follows: false }, instance)
  }
}

/** The ports of a process we did not start are where it says, so only fixed ones are known. */
function fixedPorts({ config }: UnitSpec): Record<string, number> {
  const fixed = Object.entries(config.ports).filter((entry): entry is [string, number] => entry[1] !== 'auto')
  return Object.fromEntries(fixed)
}
