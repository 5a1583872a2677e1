import type { Clock } from '../../base/clock.ts'
import type { Log } from '../../base/log.ts'
import type { Store } from '../../base/store.ts'
import { createTopic } from '../../base/topic.ts'
import type { InstanceStatus, Restraint, RestraintChange, Restraints } from '../../process/index.ts'
import { isRunBeside } from '../../process/index.ts'
import type { WorldView } from '../world-view.ts'
import type { PartitionPolicy } from './config.ts'
import { judge, type Judgement, type Situation, type Subject } from './judge.ts'
import { EMPTY_MEMORY, type Memory, remember } from './memory.ts'
import { createKeptWriter, type KeptWriter, readKept } from './record.ts'
import { isBusy, sightingsOf } from './sightings.ts'
import { moved, type Tenure } from './tenure.ts'

export interface PartitionSeams {
  readonly clock: Clock
  readonly log: Log
  readonly store: Store
  readonly self: { readonly nodeId: string; readonly name: string }
  readonly world: Pick<WorldView, 'members' | 'sectionOf' | 'changes'>
  /** The slots of the units of this node. */
  readonly statuses: () => readonly InstanceStatus[]
  readonly policyOf: (unit: string) => PartitionPolicy
  /** What this node says of a unit has become another: registers it anew. */
  readonly changed: () => void
}

/** Sees to what becomes of units when nodes cannot reach each other: who is held back, and who runs what only one node runs. */
export class PartitionKeeper implements Restraints {
  readonly changes = createTopic<RestraintChange>()
  readonly #seams: PartitionSeams
  readonly #writer: KeptWriter
  readonly #own = new Map<string, Tenure>()
  readonly #held = new Map<string, Restraint | undefined>()
  #overruled = new Set<string>()
  #memory: Memory = EMPTY_MEMORY
  #beganMs: number
  /** Ids of the last event about each member, the newest last. */
  readonly #heard = new Map<string, string>()
  #isOpen = false
  #isLooking = false
  #isStale = false
  #timer: AbortController | undefined
  #unsubscribe: (() => void) | undefined

  constructor(seams: PartitionSeams) {
    this.#seams = seams
    this.#writer = createKeptWriter(seams.store, seams.clock, seams.log)
    this.#beganMs = seams.clock.nowMs()
  }

  /** Goes on from what was known before the node was started anew. To be called before its units begin. */
  async begin(): Promise<void> {
    const { store, clock, log, world } = this.#seams
    const { memory, own, overruled } = await readKept(store, clock, log)
    this.#memory = memory
    this.#overruled = new Set(overruled)
    for (const [unit, tenure] of own) this.#own.set(unit, back(tenure))
    this.#beganMs = clock.nowMs()
    this.#unsubscribe = world.changes.subscribe(() => this.#lookAgain())
  }

  /** Writes down what is known. */
  async end(): Promise<void> {
    this.close()
    this.#unsubscribe?.()
    await this.#writer.flush()
  }

  open(): void {
    this.#isOpen = true
  }

  close(): void {
    this.#isOpen = false
    this.#timer?.abort()
  }

  of(unit: string): Restraint | undefined {
    if (this.#isOpen && !this.#held.has(unit)) this.#look(unit)
    return this.#held.get(unit)
  }

  overrule(unit: string): void {
    const subject = this.#subjectOf(unit)
    if (!this.#isOpen || subject === undefined) return
    this.#overruled.add(unit)
    const { own } = subject
    const mates = [...(this.#memory.mates.get(unit) ?? [])].map(([nodeId, said]) => {
      const { name = nodeId, missingSinceMs } = this.#memory.nodes.get(nodeId) ?? {}
      return { ...said, nodeId, name, missingForMs: missingSinceMs }
    })
    if (own !== undefined) this.#own.set(unit, moved({ own, mates }))
    this.#look(unit)
  }

  /** An event tells of a member: what follows from that does so because of it. */
  heard(nodeId: string, eventId: string): void {
    this.#heard.delete(nodeId)
    this.#heard.set(nodeId, eventId)
  }

  /** What this node says of the unit; undefined for one that does not move. */
  tenureOf(unit: string): Tenure | undefined {
    return this.#own.get(unit)
  }

  /** What follows from a look may be a reason to look again; that is done after it. */
  #lookAgain(): void {
    this.#isStale = true
    if (this.#isLooking) return
    this.#isLooking = true
    try {
      while (this.#isStale && this.#isOpen) {
        this.#isStale = false
        this.#look()
      }
    } finally {
      this.#isLooking = false
    }
  }

  /** Looks at the mesh, and decides anew for each unit. `asked`: the one of which the answer is waited for, and not told besides. */
  #look(asked?: string): void {
    if (!this.#isOpen) return
    const { clock, self, world } = this.#seams
    const sightings = sightingsOf(world)
    const nowMs = clock.nowMs()
    this.#memory = remember(this.#memory, sightings, nowMs)
    const situation = { nowMs, beganMs: this.#beganMs, self, memory: this.#memory, sightings }
    const judged = this.#subjects().map((subject) => [subject, judge(subject, situation)] as const)
    const hasChanged = this.#settle(judged)
    this.#arm(judged.map(([, { againInMs }]) => againInMs))
    this.#writer.write({ memory: this.#memory, own: this.#own, overruled: this.#overruled })
    if (hasChanged) this.#seams.changed()
    const changes = judged.flatMap(([subject, judgement]) => this.#take(subject, judgement, situation))
    for (const change of changes) if (change.unit !== asked) this.changes.publish(change)
  }

  /** Remembers how this node stands to its units; true when that is news to the others. */
  #settle(judged: readonly (readonly [Subject, Judgement])[]): boolean {
    const before = JSON.stringify([...this.#own])
    const units = new Set(judged.map(([{ unit }]) => unit))
    for (const unit of [...this.#own.keys()]) if (!units.has(unit) && this.#isKnown(unit)) this.#own.delete(unit)
    for (const unit of [...this.#held.keys()]) if (!units.has(unit)) this.#held.delete(unit)
    for (const [{ unit }, { tenure, isCut }] of judged) {
      if (tenure === undefined) this.#own.delete(unit)
      else this.#own.set(unit, tenure)
      if (!isCut) this.#overruled.delete(unit)
    }
    return JSON.stringify([...this.#own]) !== before
  }

  /** The node has begun with its units and this one is among them: it is not to come yet. */
  #isKnown(unit: string): boolean {
    return this.#seams.statuses().some((status) => status.unit === unit)
  }

  #take({ unit }: Subject, { held, reason, details }: Judgement, situation: Situation): readonly RestraintChange[] {
    const before = this.#held.get(unit)
    const now = held === undefined ? undefined : { reason: held }
    const isNews = before?.reason !== now?.reason
    if (isNews || !this.#held.has(unit)) this.#held.set(unit, now)
    return isNews ? [{ unit, before, now, reason, details, causedBy: this.#causeOf(unit, situation) }] : []
  }

  /** The last that happened to a node that has the unit, or, for all of them, to any. */
  #causeOf(unit: string, { memory }: Situation): string {
    const mates = memory.mates.get(unit) ?? memory.nodes
    return [...this.#heard].filter(([nodeId]) => mates.has(nodeId)).at(-1)?.[1] ?? ''
  }

  #subjects(): readonly Subject[] {
    const units = new Set(this.#seams.statuses().map(({ unit }) => unit))
    return [...units].flatMap((unit) => this.#subjectOf(unit) ?? [])
  }

  #subjectOf(unit: string): Subject | undefined {
    const policy = this.#seams.policyOf(unit)
    const slots = this.#seams.statuses().filter((status) => status.unit === unit && !isRunBeside(status.replica))
    if (policy === 'keep' || slots.length === 0) return undefined
    const hasProcess = slots.some(({ state }) => isBusy(state))
    const first: Tenure = { stand: hasProcess ? 'returning' : 'idle', term: 0 }
    return {
      unit,
      policy,
      hasProcess,
      wanted: slots.some(({ want }) => want === 'up'),
      own: policy.replace_after === undefined ? undefined : (this.#own.get(unit) ?? first),
      isOverruled: this.#overruled.has(unit),
    }
  }

  #arm(times: readonly (number | undefined)[]): void {
    this.#timer?.abort()
    const known = times.filter((time) => time !== undefined)
    if (known.length === 0) return
    const timer = new AbortController()
    this.#timer = timer
    const wait = this.#seams.clock.sleep(Math.max(1, Math.min(...known)), timer.signal)
    void wait.then(
      () => this.#lookAgain(),
      () => undefined,
    )
  }
}

/** Somebody else may run by now what this node ran before it was started anew. */
function back(tenure: Tenure): Tenure {
  return tenure.stand === 'holds' ? { ...tenure, stand: 'returning' } : tenure
}
