import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import type { TaskGroup } from '../base/task-group.ts'
import { type CheckHealth, checksOf, type HealthState, type OnCheck, unasked, watchCheck, worstOf } from './checks.ts'
import { describeProbeFault } from './health.ts'
import type { ProcessHost } from './host.ts'
import type { ProcessIdentity } from './identity.ts'
import { type UnitSpec, workingDirectory } from './launch.ts'
import type { LimitNews } from './limits/keeper.ts'
import { Thresholds } from './limits/thresholds.ts'
import type { Meter } from './meter.ts'
import type { GrpcProber } from './probes/grpc.ts'
import type { LimitStatus } from './status.ts'
import { expandTemplates, templateValues } from './templates.ts'
import type { News } from './unit-news.ts'
import type { Usage } from './usage.ts'

export interface VigilSeams {
  readonly clock: Clock
  readonly log: Log
  readonly host: ProcessHost
  readonly grpc: GrpcProber
  readonly meter: Pick<Meter, 'track'>
  /** Measures often what has limits. */
  readonly limitMeter: Pick<Meter, 'track'>
  readonly tasks: TaskGroup
  /** Something happened to the process. */
  readonly tell: (news: News) => string
  /** Health or readiness may have changed. */
  readonly changed: () => void
}

/** The process that is watched. */
export interface VigilSubject {
  readonly spec: UnitSpec
  readonly identity: ProcessIdentity
  readonly instance: string
}

/** Everything that is watched of one process that is not ours, from when it is found until it is lost. */
export class Vigil {
  readonly #seams: VigilSeams
  readonly #subject: VigilSubject
  readonly #life = new AbortController()
  readonly #untrack: () => void
  readonly #checks = new Map<string, CheckHealth & { readonly isPassing: boolean }>()
  readonly #thresholds: Thresholds
  #usage: Usage | undefined

  constructor(seams: VigilSeams, subject: VigilSubject) {
    this.#seams = seams
    this.#subject = subject
    const { config } = subject.spec
    for (const [name, { fail }] of checksOf(config)) {
      this.#checks.set(name, { ...unasked(name, fail), isPassing: false })
    }
    this.#untrack = seams.meter.track(subject.identity, (usage) => {
      this.#usage = usage
    })
    this.#thresholds = new Thresholds(this.#limitSeams(), subject.identity, config.limits)
  }

  get usage(): Usage | undefined {
    return this.#usage
  }

  get checks(): readonly CheckHealth[] {
    return [...this.#checks.values()].map(({ check, state, failures, failAfter, good, bad, message }) => {
      return { check, state, failures, failAfter, good, bad, message }
    })
  }

  get limits(): readonly LimitStatus[] {
    return this.#thresholds.status
  }

  get state(): HealthState {
    return worstOf(this.checks)
  }

  /** True while every check is passing. */
  get ready(): boolean {
    return [...this.#checks.values()].every(({ isPassing }) => isPassing)
  }

  /** The worst check in words; '' while all is well. */
  get reason(): string {
    const worst = this.checks.find(({ state }) => state === this.state)
    return worst === undefined || worst.state === 'healthy' || worst.state === 'unknown' ? '' : describeCheck(worst)
  }

  begin(): void {
    for (const [name, config] of checksOf(this.#subject.spec.config)) {
      this.#seams.tasks.run(() => this.#watch(name, config))
    }
  }

  end(): void {
    this.#life.abort()
    this.#untrack()
    this.#thresholds.end()
  }

  async #watch(name: string, config: Parameters<typeof watchCheck>[1]): Promise<void> {
    const { clock, host, grpc } = this.#seams
    const seams = { clock, table: host.table, run: host.run, reach: host.reach, grpc }
    try {
      const onCheck: OnCheck = (before, after, isPassing) => this.#judge(before, after, isPassing)
      await watchCheck(name, config, this.#context(), seams, onCheck, this.#life.signal)
    } catch (thrown) {
      const before = this.#checks.get(name)
      if (before === undefined) return
      this.#judge(before, { ...before, state: 'unhealthy', message: describeProbeFault(thrown) }, false)
    }
  }

  #context() {
    const { spec, identity, instance } = this.#subject
    const ports = fixedPorts(spec)
    const values = templateValues({ unit: spec.name, instance, replica: 0, ports, ...spec.variables })
    const grpcPort = ports['grpc'] ?? Object.values(ports)[0]
    return {
      identity,
      expand: (text: string) => expandTemplates(text, values),
      grpcAddress: grpcPort === undefined ? undefined : `127.0.0.1:${grpcPort}`,
      cwd: workingDirectory(spec),
      env: this.#seams.host.environment(),
      user: spec.config.user,
    }
  }

  #judge(before: CheckHealth, after: CheckHealth, isPassing: boolean): void {
    if (this.#life.signal.aborted) return
    this.#checks.set(after.check, { ...after, isPassing })
    const news = healthNews(before, after)
    if (news !== undefined) this.#seams.tell(news)
    this.#seams.changed()
  }

  #limitSeams() {
    const { clock, log, host, limitMeter, tasks, tell } = this.#seams
    const news = (limit: LimitNews): string => tell({ ...limit, cause: '', follows: false })
    return { clock, log, table: host.table, meter: limitMeter, tasks, tell: news }
  }
}

function healthNews(before: CheckHealth, after: CheckHealth): News | undefined {
  // The first good answer is told as readiness.
  if (before.state === after.state || (before.state === 'unknown' && after.state === 'healthy')) return undefined
  const { check, failures, failAfter, good, bad, message, state } = after
  const counts = { failures, failAfter, good, bad }
  const details = Object.fromEntries(Object.entries(counts).map(([name, count]) => [name, String(count)]))
  return {
    type: state === 'healthy' ? 'unit.healthy' : state === 'unhealthy' ? 'unit.unhealthy' : 'unit.degraded',
    reason: describeCheck(after),
    details: { check, ...details, message },
    cause: message,
    follows: false,
  }
}

/** `check page failed 2 of 3 times: HTTP 503`. */
function describeCheck({ check, state, failures, failAfter, message }: CheckHealth): string {
  if (state === 'healthy') return `check ${check} passes again`
  const times = `${failures} ${failures === 1 ? 'time' : 'times'}`
  if (state === 'unhealthy' && failures === 0) return `check ${check}: ${message || 'it recovers'}`
  if (state === 'unhealthy') return `check ${check} failed ${times}: ${message}`
  return `check ${check} failed ${times}, unhealthy at ${failAfter}: ${message}`
}

/** The ports of a process we did not start are where it says, so only fixed ones are known. */
export function fixedPorts({ config }: UnitSpec): Record<string, number> {
  const fixed = Object.entries(config.ports).filter((entry): entry is [string, number] => entry[1] !== 'auto')
  return Object.fromEntries(fixed)
}
