import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import type { TaskGroup } from '../base/task-group.ts'
import type { Topic } from '../base/topic.ts'
import {
  type AwaitedSlot,
  lossOf,
  meeting,
  type Obstacle,
  ownSlot,
  qualityOf,
  type Terms,
  waitingFor,
} from './admission.ts'
import type { Origin, Tell } from './causes.ts'
import { isOn, needsIt, NEW_TIE, retie, type Tie, type TieChange, tiedTo } from './dependency-tie.ts'
import type { UnitSpec } from './launch.ts'
import { LoggedLines, type LoggedLinesSeams } from './logged-lines.ts'
import type { InstanceStatus } from './status.ts'

/** Units of other nodes, for dependencies with `scope: mesh`. */
export interface Elsewhere {
  /** The slots of that unit on other nodes that are alive. */
  slotsOf(unit: string): readonly AwaitedSlot[]
  readonly changes: Topic<undefined>
}

/** A unit of this node that may depend on others. */
export interface Dependant {
  readonly spec: UnitSpec
  readonly slots: readonly DependantSlot[]
}

/** What is done to a slot because of what its unit depends on. */
export interface DependantSlot {
  readonly status: InstanceStatus
  /** Asks again whether it may start, when that is what it waits for. */
  reconsider(origin?: Origin): void
  /** Stops it until it may start. */
  hold(reason: string, origin: Origin): void
  renew(reason: string, origin: Origin): void
  /** Shows what is wrong around it while it runs; '' = nothing. `origin`: what made that news for it. */
  mark(caveat: string, origin?: Origin): void
}

export interface GateSeams {
  readonly clock: Clock
  readonly log: Log
  readonly tasks: Pick<TaskGroup, 'run' | 'signal'>
  readonly tell: Tell
  /** Reads the output of units. */
  readonly read: LoggedLinesSeams['read']
  /** Undefined while this node is alone. */
  readonly elsewhere: Elsewhere | undefined
  /** The units that the node runs. */
  readonly dependants: () => Iterable<Dependant>
  /** All slots of a unit of this node; undefined when there is no such unit. */
  readonly statusesOf: (unit: string) => readonly InstanceStatus[] | undefined
}

interface Bond {
  /** The terms as text: changed ones are another tie. */
  readonly text: string
  readonly tie: Tie
}

/** Lets units start when what they depend on is there, and does what `on_fail` says when it is there no more. */
export class DependencyGate {
  readonly #seams: GateSeams
  readonly #lines: LoggedLines
  readonly #waitingSinceMs = new Map<string, number>()
  /** By the names of the dependant and of what it depends on. */
  readonly #bonds = new Map<string, Map<string, Bond>>()
  /** Units whose slots are all there: before that, a loss would be a loss for some of them only. */
  readonly #begun = new Set<string>()
  #isClosed = false

  constructor(seams: GateSeams) {
    const { read, tasks, clock, elsewhere } = seams
    this.#seams = seams
    this.#lines = new LoggedLines({ read, tasks, sinceMs: clock.wallMs(), onMatch: (unit) => this.#lookAt(unit) })
    elsewhere?.changes.subscribe(() => this.#lookElsewhere())
  }

  /** For whom the start of `unit` waits; undefined when it may go on. */
  admission({ spec, slots }: Dependant): Obstacle | undefined {
    const { clock } = this.#seams
    const sinceMs = this.#waitingSinceMs.get(spec.name) ?? clock.nowMs()
    const isFirst = !this.#waitingSinceMs.has(spec.name)
    this.#waitingSinceMs.set(spec.name, sinceMs)
    for (const [unit, terms] of Object.entries(spec.config.depends_on)) {
      const met = this.#meeting(unit, terms, NEW_TIE)
      if (met.length > 0) {
        // One that was lost is looked at by whoever hears of its return.
        if (!this.#tieOf(spec.name, unit, terms).isLost) this.#remember(spec.name, unit, terms, tiedTo(met))
        continue
      }
      if (isFirst) this.#askAgain({ spec, slots }, terms.timeout)
      const waitedMs = clock.nowMs() - sinceMs
      return { unit, reason: waitingFor(unit, terms, this.#slotsOf(unit, terms), waitedMs) }
    }
    this.#waitingSinceMs.delete(spec.name)
    return undefined
  }

  /** To be called after each change of a slot of this node. */
  changed({ unit, eventId }: InstanceStatus): void {
    if (this.#lines.watches(unit)) {
      const running = (this.#seams.statusesOf(unit) ?? []).filter((status) => ownSlot(status).isRunning)
      this.#lines.retain(unit, { instances: running.map(({ instance }) => instance) })
    }
    this.#lookAt(unit, { causedBy: eventId })
  }

  /**
   * Begins a unit, whose slots `beginSlots` makes. Those that an earlier node started had then what they depend on, so the
   * instances that are there now, or were when that node ended, are taken to have met the terms.
   */
  async begin(dependant: Dependant, beginSlots: () => Promise<void>): Promise<void> {
    const { name, config } = dependant.spec
    for (const [unit, terms] of Object.entries(config.depends_on)) {
      const had = this.#seams.statusesOf(unit)?.flatMap(({ instance }) => (instance === '' ? [] : [instance])) ?? []
      this.#remember(name, unit, terms, tiedTo(had))
    }
    try {
      await beginSlots()
    } finally {
      this.#begun.add(name)
      this.settle(dependant)
    }
  }

  /** To be called when the configuration of a unit has changed. */
  settle(dependant: Dependant): void {
    const { name, config } = dependant.spec
    this.#waitingSinceMs.delete(name)
    for (const [unit, terms] of Object.entries(config.depends_on)) this.#look(dependant, unit, terms, undefined)
    const bonds = this.#bonds.get(name)
    for (const unit of bonds?.keys() ?? []) {
      if (!Object.hasOwn(config.depends_on, unit)) bonds?.delete(unit)
      this.#retainLines(unit, undefined)
    }
  }

  /** Lines of `unit` that nobody waits for any more are not looked for. `except`: a dependant that is about to go. */
  #retainLines(unit: string, except: string | undefined): void {
    if (!this.#lines.watches(unit)) return
    const lines = new Set<string>()
    for (const { spec } of this.#seams.dependants()) {
      const { depends_on } = spec.config
      const line = Object.hasOwn(depends_on, unit) ? depends_on[unit]?.line : undefined
      if (line !== undefined && spec.name !== except) lines.add(line)
    }
    this.#lines.retain(unit, { lines })
  }

  /** To be called when a unit is not one of this node any more. */
  forget(unit: string): void {
    const awaited = [...(this.#bonds.get(unit)?.keys() ?? [])]
    this.#waitingSinceMs.delete(unit)
    this.#bonds.delete(unit)
    this.#begun.delete(unit)
    this.#lines.retain(unit, { instances: [] })
    for (const each of awaited) this.#retainLines(each, unit)
  }

  /** From now on nothing is done to anybody: the node ends, or hands its units over. */
  close(): void {
    this.#isClosed = true
  }

  #lookElsewhere(): void {
    for (const dependant of this.#seams.dependants()) {
      for (const [unit, terms] of Object.entries(dependant.spec.config.depends_on)) {
        if (terms.scope === 'mesh') this.#look(dependant, unit, terms, undefined)
      }
    }
  }

  #lookAt(unit: string, origin?: Origin): void {
    for (const dependant of this.#seams.dependants()) {
      const { depends_on } = dependant.spec.config
      const terms = Object.hasOwn(depends_on, unit) ? depends_on[unit] : undefined
      if (terms !== undefined) this.#look(dependant, unit, terms, origin)
    }
  }

  #look(dependant: Dependant, unit: string, terms: Terms, origin: Origin | undefined): void {
    const { name } = dependant.spec
    if (this.#isClosed || !this.#begun.has(name)) return
    const known = this.#tieOf(name, unit, terms)
    const { tie, changes } = retie(known, this.#meeting(unit, terms, known))
    this.#remember(name, unit, terms, tie)
    // A job that is run again is no loss: it was done when it was asked for.
    if (terms.condition !== 'completed') for (const change of changes) this.#follow(change, dependant, unit, origin)
    for (const slot of dependant.slots) slot.reconsider(origin)
  }

  #follow(change: TieChange, { spec, slots }: Dependant, unit: string, origin: Origin | undefined): void {
    const terms = spec.config.depends_on[unit]
    const isLost = change === 'lost'
    const concerned = slots.filter(({ status }) => (isLost ? needsIt(status) : isOn(status)))
    for (const slot of slots) if (!concerned.includes(slot)) slot.mark(this.#caveatOf(spec))
    if (terms === undefined || concerned.length === 0) return
    const { on_fail } = terms
    const quality = qualityOf(terms)
    const reason = isLost ? lossOf(unit, terms, this.#slotsOf(unit, terms) ?? []) : `'${unit}' is ${quality} again`
    const type = isLost ? 'unit.dependency_lost' : 'unit.dependency_back'
    const details = { for: unit, on_fail }
    const causedBy = this.#seams.tell({ type, unit: spec.name, instance: '', reason, details, cause: '', ...origin })
    for (const slot of concerned) {
      slot.mark(this.#caveatOf(spec), { causedBy })
      if (isLost && on_fail === 'stop') slot.hold(reason, { causedBy })
      if (!isLost && on_fail === 'restart') slot.renew(reason, { causedBy })
    }
  }

  /** What to show of a unit that runs without something it depends on. */
  #caveatOf({ name, config }: UnitSpec): string {
    const lost = Object.entries(config.depends_on).find(([unit, terms]) => this.#tieOf(name, unit, terms).isLost)
    return lost === undefined ? '' : `'${lost[0]}' is not ${qualityOf(lost[1])}`
  }

  #tieOf(dependant: string, unit: string, terms: Terms): Tie {
    const bond = this.#bonds.get(dependant)?.get(unit)
    return bond?.text === JSON.stringify(terms) ? bond.tie : NEW_TIE
  }

  #remember(dependant: string, unit: string, terms: Terms, tie: Tie): void {
    const bonds = this.#bonds.get(dependant) ?? new Map<string, Bond>()
    this.#bonds.set(dependant, bonds.set(unit, { text: JSON.stringify(terms), tie }))
  }

  #meeting(unit: string, terms: Terms, { met }: Tie): readonly string[] {
    const byInstance = new Map(this.#seams.statusesOf(unit)?.map((status) => [status.instance, status]))
    const hasLogged = (instance: string): boolean => {
      const status = byInstance.get(instance)
      return status !== undefined && terms.line !== undefined && this.#lines.has(status, terms.line)
    }
    return meeting(terms, this.#slotsOf(unit, terms) ?? [], { met, hasLogged })
  }

  /** Undefined when the unit ought to be one of this node and is not. */
  #slotsOf(unit: string, { scope }: Terms): readonly AwaitedSlot[] | undefined {
    const own = this.#seams.statusesOf(unit)?.map(ownSlot)
    if (scope === 'node') return own
    return [...(own ?? []), ...(this.#seams.elsewhere?.slotsOf(unit) ?? [])]
  }

  /** So that the reason tells when a dependency is late. It is still waited for: it may come. */
  #askAgain({ spec, slots }: Dependant, afterMs: number): void {
    const { clock, log, tasks } = this.#seams
    tasks.run(async (signal) => {
      await clock.sleep(afterMs, signal)
      if (!this.#waitingSinceMs.has(spec.name)) return
      for (const slot of slots) slot.reconsider()
      const [late] = slots.filter(({ status }) => status.state === 'down')
      if (late !== undefined)
        log.warn('unit waits too long for a dependency', { unit: spec.name, reason: late.status.reason })
    })
  }
}
