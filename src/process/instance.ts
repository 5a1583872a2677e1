import { join } from 'node:path'
import { messageOf } from '../base/error.ts'
import type { Log } from '../base/log.ts'
import { type Exit, isSuccess } from './exit.ts'
import { describeProbeFault, type HealthReport, type HealthSubject, watchInstanceHealth } from './health.ts'
import type { Child } from './host.ts'
import { type EndSeams, InstanceEnd } from './instance-end.ts'
import { type EnvironmentOf, type InstanceDescription, launchOf, mainPort, type UnitSpec, unmarked } from './launch.ts'
import { keepingOf } from './logs/keeping.ts'
import { createLineWatch } from './logs/line-watch.ts'
import type { Meter } from './meter.ts'
import type { Capture, CaptureSource, Output } from './output.ts'
import type { Answer } from './probe.ts'
import type { GrpcProber } from './probes/grpc.ts'
import { describeRun } from './run-command.ts'
import { expandTemplates, templateValues } from './templates.ts'
import type { AllGone } from './terminate.ts'
import type { Usage } from './usage.ts'

export interface InstanceSeams extends EndSeams {
  readonly grpc: GrpcProber
  readonly meter: Pick<Meter, 'track'>
  readonly output: Pick<Output, 'capture' | 'query'>
  readonly environmentOf: EnvironmentOf
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
  readonly #end: InstanceEnd
  #spec: UnitSpec
  /** Aborts when it is no longer to be asked for its health. */
  #life = new AbortController()
  #usage: Usage | undefined
  #doubt = ''
  #wasReady: boolean

  constructor(seams: InstanceSeams, facts: InstanceFacts) {
    this.facts = facts
    this.#seams = seams
    this.#spec = facts.spec
    this.#log = seams.log.with({ instance: facts.instance })
    const { instance, child } = facts
    this.#end = new InstanceEnd({ ...seams, log: this.#log }, { unit: facts.spec.name, instance, child })
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
    return this.#end.isAskedFor
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
    const exit = await this.#end.untilExited(signal)
    const { isOurDoing } = this.#end
    this.detach()
    await this.#end.clearAway(signal)
    this.#log.info('unit ended', { pid: this.pid, exit })
    return exit ?? (isOurDoing ? { signal: 'SIGKILL' } : undefined)
  }

  /** Takes what it wrote to its end, and forgets its files. */
  async finish(): Promise<void> {
    const isRead = await this.#capture.finish()
    if (isRead) await this.#seams.host.discard(this.facts.directory)
  }

  /** Drains it, asks it to end, and kills what is left after its grace. A second call changes nothing. */
  async terminate(): Promise<void> {
    if (this.isEnding) return
    this.#life.abort()
    const runCommand = (command: readonly string[], signal: AbortSignal): Promise<void> =>
      this.#runStopCommand(command, signal)
    await this.#end.ask({ stop: this.#spec.config.stop, mayBeCalled: this.#wasReady, runCommand })
  }

  /** Does not drain it, or no longer. */
  hurry(): void {
    this.#end.hurry()
  }

  /** Ends the whole tree by force. */
  kill(): Promise<AllGone> {
    return this.#end.kill()
  }

  /** Ends it by force, however often that takes; in the end it is given up as lost. */
  killSurely(): Promise<void> {
    return this.#end.killSurely()
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
