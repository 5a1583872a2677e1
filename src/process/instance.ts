import { join } from 'node:path'
import { aborted, withSignal } from '../base/abort.ts'
import { type Clock, within } from '../base/clock.ts'
import { messageOf } from '../base/error.ts'
import type { Log } from '../base/log.ts'
import type { TaskGroup } from '../base/task-group.ts'
import { type Exit, isSuccess } from './exit.ts'
import { describeProbeFault, type HealthReport, type HealthSubject, watchInstanceHealth } from './health.ts'
import type { Child, ProcessHost } from './host.ts'
import { type EnvironmentOf, type InstanceDescription, launchOf, mainPort, type UnitSpec, unmarked } from './launch.ts'
import { keepingOf } from './logs/keeping.ts'
import { createLineWatch } from './logs/line-watch.ts'
import type { Meter } from './meter.ts'
import type { Capture, CaptureSource, Output } from './output.ts'
import type { Answer } from './probe.ts'
import type { GrpcProber } from './probes/grpc.ts'
import { describeRun } from './run-command.ts'
import { expandTemplates, templateValues } from './templates.ts'
import { type AllGone, killTree, terminate } from './terminate.ts'
import type { Usage } from './usage.ts'

/** Ending a unit can fail for reasons that pass (no file descriptor left, say); it is tried again, so often and after this. */
const MAX_END_ATTEMPTS = 30
const END_RETRY_MS = 1_000

/** The news that a process ended comes with its end; when it has not come after this, it never will. */
const NEWS_MS = 1_000

/** What tells callers has a shorter bound of its own. */
const MAX_WITHDRAW_MS = 5_000

export interface InstanceSeams {
  readonly clock: Clock
  readonly log: Log
  readonly host: ProcessHost
  readonly grpc: GrpcProber
  readonly meter: Pick<Meter, 'track'>
  readonly output: Pick<Output, 'capture' | 'query'>
  readonly environmentOf: EnvironmentOf
  /** See `SupervisorSeams`. */
  readonly withdraw?: ((unit: string, instance: string, signal: AbortSignal) => Promise<void>) | undefined
  readonly drain: (unit: string, instance: string, signal: AbortSignal) => Promise<void>
  /** The tasks of the slot, which live no longer than it. */
  readonly tasks: TaskGroup
}

/** What is known of an instance once its processes are there. */
export interface InstanceFacts {
  readonly instance: string
  readonly replica: number
  /** Its files, absolute. */
  readonly directory: string
  readonly child: Child
  readonly ports: Readonly<Record<string, number>>
  /** Wall clock. */
  readonly startedAtMs: number
  /** Of the configuration it was started with. */
  readonly launchHash: string
  /** False for one that was ready before (adopted). */
  readonly starting: boolean
  readonly spec: UnitSpec
}

/** One run of a slot, from start or adoption to its end: its processes, its output, its health. */
export class Instance {
  readonly facts: InstanceFacts
  readonly #seams: InstanceSeams
  readonly #log: Log
  readonly #capture: Capture
  readonly #untrack: () => void
  /** Aborts when it cannot be ended, and is no longer waited for. */
  readonly #lost = new AbortController()
  #spec: UnitSpec
  /** Aborts when it is no longer to be asked for its health. */
  #life = new AbortController()
  #usage: Usage | undefined
  #doubt = ''
  #wasReady: boolean
  #killed = false
  /** Aborts when its callers get no more time to turn away. */
  readonly #hurry = new AbortController()
  /** The end we have begun to bring about. */
  #ending: Promise<void> | undefined

  constructor(seams: InstanceSeams, facts: InstanceFacts) {
    this.facts = facts
    this.#seams = seams
    this.#spec = facts.spec
    this.#log = seams.log.with({ instance: facts.instance })
    this.#wasReady = !facts.starting
    this.#capture = seams.output.capture(captureOf(facts.spec, facts, this.pid))
    this.#untrack = seams.meter.track(rootOf(facts.child), (usage) => {
      this.#usage = usage
    })
  }

  get pid(): number {
    return this.facts.child.main.pid
  }

  /** Undefined before the first reading. */
  get usage(): Usage | undefined {
    return this.#usage
  }

  /** Why the last answer that decides its start was no; '' when it was yes. */
  get doubt(): string {
    return this.#doubt
  }

  /** True from the moment somebody asked for its end. */
  get isEnding(): boolean {
    return this.#ending !== undefined
  }

  /** Begins to ask for its health by the probes of `spec`; ends what was asked before. */
  watchHealth(spec: UnitSpec, starting: boolean, report: HealthReport): void {
    this.#spec = spec
    this.#life.abort()
    const life = new AbortController()
    this.#life = life
    const tell: HealthReport = (type, reason, facts) => {
      if (life.signal.aborted) return
      if (type === 'ready') this.#wasReady = true
      report(type, reason, facts)
    }
    this.#seams.tasks.run(async () => {
      try {
        const { clock, host, grpc } = this.#seams
        const onAnswer = ({ reason }: Answer): void => {
          this.#doubt = reason
        }
        const seams = { clock, table: host.table, run: host.run, reach: host.reach, grpc, onAnswer }
        await watchInstanceHealth(this.#healthSubject(starting, life.signal), seams, tell, life.signal)
      } catch (thrown) {
        tell('unhealthy', describeProbeFault(thrown))
      }
    })
  }

  /** Waits for the end of the process and sees to it that nothing of it is left. @throws the signal's reason */
  async untilGone(signal: AbortSignal): Promise<Exit | undefined> {
    const { child } = this.facts
    const exit = await withSignal(signal, (inner) =>
      Promise.race([child.exited, aborted(this.#lost.signal), aborted(inner)]),
    )
    signal.throwIfAborted()
    const endedByUs = this.#killed || this.#ending !== undefined
    this.detach()
    const { host, clock } = this.#seams
    await (this.#ending ?? this.#insist(() => killTree(host, child, [], clock, signal)))
    signal.throwIfAborted()
    this.#log.info('unit ended', { pid: this.pid, exit })
    return exit ?? (endedByUs ? { signal: 'SIGKILL' } : undefined)
  }

  /** Takes what it wrote to its end, and forgets its files. */
  async finish(): Promise<void> {
    const isRead = await this.#capture.finish()
    if (isRead) await this.#seams.host.discard(this.facts.directory)
  }

  /** Drains it, asks it to end, and kills what is left after its grace. A second call changes nothing. */
  async terminate(): Promise<void> {
    if (this.#ending !== undefined) return
    this.#ending = this.#end()
    await this.#ending
  }

  /** Does not drain it, or no longer. */
  hurry(): void {
    this.#hurry.abort()
  }

  /** Ends the whole tree by force. */
  kill(): Promise<AllGone> {
    this.#killed = true
    const { host, clock, tasks } = this.#seams
    return killTree(host, this.facts.child, [], clock, tasks.signal)
  }

  /** Ends it by force, however often that takes; in the end it is given up as lost. */
  async killSurely(): Promise<void> {
    if (!(await this.#insist(() => this.kill()))) this.#lost.abort()
  }

  /** Sends a signal to the unit's own program. False when it is gone. */
  signal(name: NodeJS.Signals): Promise<boolean> {
    return this.#seams.host.signal(this.facts.child.main, name)
  }

  /** Asks and measures no more. The processes are not touched. */
  detach(): void {
    this.#life.abort()
    this.#untrack()
  }

  /** Lets go of the processes, which live on. */
  release(): void {
    this.facts.child.release()
  }

  async #end(): Promise<void> {
    const { host, clock, tasks } = this.#seams
    const { signal, grace: graceMs, command } = this.#spec.config.stop
    const { child } = this.facts
    this.#life.abort()
    if (this.#wasReady && !this.#hurry.signal.aborted) await this.#drain()
    const policy = {
      signal,
      graceMs,
      command: command && ((outer: AbortSignal) => this.#runStopCommand(command, outer)),
    }
    const isGone = await this.#insist(() => terminate(host, child, policy, clock, tasks.signal))
    if (isGone) {
      await withSignal(tasks.signal, (inner) => within(clock, NEWS_MS, Promise.race([child.exited, aborted(inner)])))
    }
    this.#lost.abort()
  }

  /** What goes wrong with it is logged: the signal follows in any case. */
  async #runStopCommand(command: readonly string[], signal: AbortSignal): Promise<void> {
    const { cwd, env, user, expand } = this.#launch()
    const argv = command.map(expand)
    try {
      const options = { cwd, user, env: { ...unmarked(env), HSU_PID: String(this.pid) } }
      const ran = await this.#seams.host.run(argv, options, signal)
      if (!isSuccess(ran.exit)) this.#log.warn('stop command failed', { cause: describeRun(argv, ran) })
    } catch (error) {
      if (!signal.aborted) this.#log.warn('stop command cannot be run', { cause: messageOf(error) })
    }
  }

  /** How a command that belongs to the instance is run. */
  #launch() {
    const spec = this.#spec
    const description = describeInstance(spec, this.facts)
    const { host, environmentOf } = this.#seams
    const { cwd, env } = launchOf(spec, description, this.facts.directory, host.environment(), environmentOf)
    const values = templateValues({ ...description, ...spec.variables })
    return { cwd, env, user: spec.config.user, expand: (text: string) => expandTemplates(text, values) }
  }

  /** Tries `end` until it does not fail. False when processes are left. @throws the signal's reason */
  async #insist(end: () => Promise<AllGone>): Promise<AllGone> {
    const { signal } = this.#seams.tasks
    for (let attempt = 1; attempt <= MAX_END_ATTEMPTS; attempt += 1) {
      try {
        const isGone = await end()
        if (!isGone) this.#log.error('processes of a unit do not end though killed, and are left', {})
        return isGone
      } catch (error) {
        signal.throwIfAborted()
        this.#log.error('unit cannot be stopped, which is tried again', { attempt, error })
        await this.#seams.clock.sleep(END_RETRY_MS, signal)
      }
    }
    return false
  }

  /** Gives callers time to turn away, no longer than configured; cut short when the process ends by itself. */
  async #drain(): Promise<void> {
    const { clock, withdraw, drain, tasks } = this.#seams
    const { stop } = this.#spec.config
    const { instance, child } = this.facts
    await withSignal(tasks.signal, async (signal) => {
      const over = Promise.race([child.exited, aborted(this.#hurry.signal), aborted(signal)])
      const step = (task: typeof drain, withinMs: number): Promise<unknown> => {
        const done = task(this.#spec.name, instance, signal).catch((error: unknown) => {
          if (!signal.aborted) this.#log.warn('unit could not be drained', { cause: messageOf(error) })
        })
        return within(clock, withinMs, Promise.race([done, over]))
      }
      // Without time to turn away, callers are told, and not waited for.
      if (withdraw !== undefined) await step(withdraw, stop.drain === 0 ? 0 : MAX_WITHDRAW_MS)
      if (!this.#hurry.signal.aborted) await step(drain, stop.drain)
    })
  }

  #healthSubject(starting: boolean, life: AbortSignal): HealthSubject {
    const spec = this.#spec
    const { child, ports, instance, startedAtMs } = this.facts
    const { kind, probes } = spec.config
    const grpcPort = mainPort('integrated', ports)
    const { output, tasks } = this.#seams
    return {
      kind,
      probes,
      ...this.#launch(),
      identity: child.main,
      grpcAddress: grpcPort === undefined ? undefined : `127.0.0.1:${grpcPort}`,
      grpcPort,
      ownPorts: Object.values(ports),
      rootPid: rootOf(child).pid,
      starting,
      hasLogged: createLineWatch(
        { read: output.query, tasks },
        { unit: spec.name, instance, startedAtMs, wasReady: this.#wasReady },
        life,
      ),
    }
  }
}

/** The first process of an instance: its shim, or its program when nobody knows the shim. */
function rootOf({ leader, main }: Child): Child['main'] {
  return leader.pid > 0 ? leader : main
}

/** Where the raw output of an instance is and how much of it is kept. */
export function captureOf(
  { name: unit, config }: UnitSpec,
  place: Pick<InstanceFacts, 'instance' | 'replica' | 'directory'>,
  pid: number | undefined,
): CaptureSource {
  const { instance, replica, directory } = place
  const [stdoutPath, stderrPath] = [join(directory, 'stdout'), join(directory, 'stderr')]
  return { unit, replica, instance, pid, stdoutPath, stderrPath, ...keepingOf(config.logs) }
}

/** What the launch of an instance depends on besides its configuration. */
export function describeInstance(
  { name: unit, config }: UnitSpec,
  { instance, replica, ports }: Pick<InstanceFacts, 'instance' | 'replica' | 'ports'>,
): InstanceDescription {
  return { unit, instance, replica, kind: config.kind, ports }
}
