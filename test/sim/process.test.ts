import { setMaxListeners } from 'node:events'
import t from 'tap'
import { below, type Random } from '../../src/base/random.ts'
import { createSupervisor, type Supervisor, type UnitSpec } from '../../src/process/index.ts'
import { memoryLog } from '../support/memory-log.ts'
import { type Life, mortal } from '../../src/sim/life.ts'
import { seeded } from '../../src/sim/seeded.ts'
import { SimClock } from '../../src/sim/sim-clock.ts'
import { SimHost } from '../../src/sim/sim-host.ts'
import type { SimScript } from '../../src/sim/sim-program.ts'
import { simStore } from '../../src/sim/sim-store.ts'
import { unitSpec } from '../support/unit-spec.ts'

/** `HSU_SEED=7` replays one sequence; `HSU_SEQUENCES=10000` tries that many. */
const only = process.env['HSU_SEED']
const count = Number(process.env['HSU_SEQUENCES'] ?? 300)
const SEEDS = only === undefined ? Array.from({ length: count }, (_, index) => index + 1) : [Number(only)]

const STEPS = 25

const run = ['./program']
const restart = { backoff: '2ms..20ms', give_up: '1000/1m' } as const
const stop = { grace: '30ms', drain: '0ms' } as const
const UNITS = [
  unitSpec('api', {
    run,
    restart,
    stop,
    replicas: 2,
    ports: { http: 'auto' },
    depends_on: { db: { condition: 'started', on_fail: 'stop' } },
  }),
  unitSpec('db', { run, stop, restart: { ...restart, policy: 'always' } }),
  unitSpec('job', { run, stop, restart: { ...restart, policy: 'no' } }),
  unitSpec('kept', {
    run,
    stop,
    restart: { ...restart, policy: 'unless-stopped' },
    depends_on: { job: { condition: 'started', on_fail: 'restart' } },
  }),
]
/** The same with another program for one of them. */
const CHANGED = UNITS.map((spec) =>
  spec.name === 'kept' ? { ...spec, config: { ...spec.config, run: ['./other'] } } : spec,
)

const NAMES = UNITS.map(({ name }) => name)

const pickOf = <T>(items: readonly T[], random: Random): T => items[below(items.length, random)] as T

const NO_OUTPUT = {
  capture: () => ({ finish: async () => true, close: async () => undefined }),
  query: async function* () {
    // Programs of the simulated host write nothing.
  },
  batches: async function* () {
    // Nor is anything forwarded.
  },
  close: async () => undefined,
}

/** One machine that outlives its nodes. */
class Machine {
  readonly clock = new SimClock()
  readonly host = new SimHost()
  readonly disk = new Map<string, Uint8Array>()
  readonly #random: Random
  #life: Life = { over: true }
  #supervisor: Supervisor | undefined
  #units: readonly UnitSpec[] = UNITS
  /** The machine's own: whoever waits by one that lives on keeps the machine. */
  readonly #never = new AbortController().signal

  constructor(seed: number) {
    // Whoever waits in a dead node waits for ever.
    setMaxListeners(0, this.#never)
    this.#random = seeded(seed)
    this.host.cells = this.#random.next() < 0.5
    this.host.play(() => this.#script())
  }

  #script(): SimScript {
    const random = this.#random
    const chance = (share: number): boolean => random.next() < share
    return {
      ...(chance(0.05) ? { fault: 'no such file' } : {}),
      ...(chance(0.1) ? { exitsAtOnce: { code: below(3, random) } } : {}),
      ...(chance(0.2) ? { ignores: ['SIGTERM'] } : {}),
      helpers: below(3, random),
      daemons: below(2, random),
      hidden: this.host.cells ? below(2, random) : 0,
    }
  }

  /** Starts a node unless one runs; how it begins is a part of the sequence, so nobody waits for it. */
  boot(): void {
    if (!this.#life.over) return
    const life = { over: false }
    this.#life = life
    const guarded = mortal(life, (ms) => this.clock.sleep(ms), this.#random)
    const supervisor = createSupervisor(
      {
        clock: guarded.clock(this.clock),
        random: this.#random,
        store: guarded.store(simStore(this.disk)),
        host: guarded.host(this.host),
        log: memoryLog(),
        grpc: { check: async () => true },
        environmentOf: () => ({}),
        drain: async () => undefined,
        output: NO_OUTPUT,
      },
      { runDir: '/run/hsu', logDir: '/log' },
    )
    this.#supervisor = supervisor
    const units = this.#units
    void supervisor.start().then(() => supervisor.apply(units))
  }

  /** Starts a node, and asks something of it as soon as it knows a unit: before it knows what is left of the one before. */
  bootAndAsk(): void {
    this.boot()
    const supervisor = this.#supervisor
    const unit = pickOf(NAMES, this.#random)
    const asked = pickOf(['startUnit', 'stopUnit', 'restartUnit'] as const, this.#random)
    const ask = async (): Promise<void> => {
      while (this.#supervisor === supervisor && supervisor?.spec(unit) === undefined) await this.clock.sleep(1)
      if (this.#supervisor === supervisor) await supervisor?.[asked](unit, this.#never)
    }
    void ask().catch(() => undefined)
  }

  /** SIGKILL of the node. */
  kill(): void {
    this.#life.over = true
    this.#supervisor = undefined
  }

  step(): void {
    const random = this.#random
    const unit = pickOf(NAMES, random)
    const supervisor = this.#supervisor
    const ask = (asked: Promise<unknown> | undefined): void => void asked?.catch(() => undefined)
    const acts: (() => void)[] = [
      () => ask(supervisor?.startUnit(unit, this.#never)),
      () => ask(supervisor?.stopUnit(unit, this.#never)),
      () => ask(supervisor?.restartUnit(unit, this.#never)),
      () => ask(supervisor?.killUnit(unit)),
      () => ask(supervisor?.scaleUnit('api', below(4, random), this.#never)),
      () => {
        this.#units = this.#units === UNITS ? CHANGED : UNITS
        ask(supervisor?.apply(this.#units))
      },
      () => this.#crash(unit),
      () => this.#crash(unit),
      () => this.kill(),
      () => this.kill(),
      () => this.boot(),
      () => this.bootAndAsk(),
      () => this.bootAndAsk(),
      () => {
        const [pid] = this.host.freePids
        if (pid !== undefined) this.host.recycle(pid)
      },
      () => {
        if (random.next() > 0.2) return
        this.kill()
        this.host.reboot()
      },
    ]
    pickOf(acts, random)()
  }

  #crash(unit: string): void {
    const [pid] = this.host.pidsOf(unit)
    if (pid !== undefined) this.host.exit(pid, { code: below(3, this.#random) })
  }

  /** Lets time go on by single milliseconds, so that each moment between two acts is looked at. */
  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 1) {
      await this.clock.advance(1)
      this.check()
    }
  }

  check(): void {
    const { running, signals } = this.host
    if (new Set(running).size < running.length) throw new Error(`a second copy runs: ${running.join(' ')}`)
    if (signals.some((signal) => signal.endsWith('stranger'))) throw new Error('a stranger was signalled')
  }

  /** `api` does not run without `db`. */
  #checkHeld(): void {
    const statuses = this.#supervisor?.status() ?? []
    if (statuses.some(({ unit, pid }) => unit === 'db' && pid !== undefined)) return
    const runs = statuses.filter(({ unit, pid }) => unit === 'api' && pid !== undefined)
    if (runs.length > 0)
      throw new Error(`runs without what it depends on: ${runs.map((each) => each.instance).join(' ')}`)
  }

  /** All programs behave from now on; the node, a new one if need be, stops in good order. */
  async end(): Promise<void> {
    this.host.play(() => ({}))
    this.boot()
    await this.pass(300)
    this.#checkHeld()
    const stopped = this.#supervisor?.stop()
    await this.pass(300)
    await Promise.race([stopped, this.clock.advance(60_000)])
    this.check()
    const left = this.host.ours
    if (left.length > 0) throw new Error(`outlived the stop: ${left.join(', ')}`)
  }
}

t.test(
  'whatever happens, no second copy runs, nothing without what it depends on, no stranger is signalled, a stop leaves nothing',
  async (t) => {
    for (const seed of SEEDS) {
      const machine = new Machine(seed)
      const random = seeded(seed + 1_000_000)
      try {
        machine.boot()
        for (let step = 0; step < STEPS; step += 1) {
          await machine.pass(below(20, random))
          machine.step()
        }
        await machine.end()
      } catch (cause) {
        const replay = `HSU_SEED=${seed} node scripts/run-test.mjs test/sim/process.test.ts`
        throw new Error(`seed ${seed}: ${cause instanceof Error ? cause.message : String(cause)}\nreplay: ${replay}`, {
          cause,
        })
      }
    }
    t.pass(`${SEEDS.length} sequences of ${STEPS} steps`)
  },
)
