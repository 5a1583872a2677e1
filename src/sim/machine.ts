import { createHash } from 'node:crypto'
import type { HostNetwork } from '../base/host-networks.ts'
import { silentLog } from '../base/log.ts'
import type { NodeSetup, RunningNode } from '../node/index.ts'
import { identityFrom } from '../mesh/index.ts'
import type { Probe } from '../process/index.ts'
import type { ServiceImplementation } from '../rpc/index.ts'
import { type Behaviour, scriptOf } from './behaviour.ts'
import type { Life } from './life.ts'
import type { SimClock } from './sim-clock.ts'
import { SimEventDisk } from './sim-event-disk.ts'
import { SimHost } from './sim-host.ts'
import type { SimProgram } from './sim-program.ts'
import { SimDisk } from './sim-store.ts'

/** A fault that a node met, as it wrote it to its log. */
export interface LoggedError {
  readonly atMs: number
  readonly message: string
  readonly fields: Readonly<Record<string, unknown>>
}

/** One host: its disk, its programs and its place in the network stay when its node comes and goes. */
export class Machine {
  readonly name: string
  readonly nodeId: string
  /** SHA-256, as if of a certificate. */
  readonly fingerprint: string
  readonly host: SimHost
  readonly disk = new SimDisk()
  readonly events: SimEventDisk
  /** What its key file holds, newest first. */
  keyFile: readonly Uint8Array[] = []
  /** IPv4. */
  address: string
  /** What a node that starts here is told. */
  setup: NodeSetup
  readonly behaviours: Map<string, Behaviour>
  /** Units whose programs run and answer no probe, `unit` or `unit/replica`. */
  readonly sick = new Set<string>()
  /** Of the node that runs here, or ran last. */
  life: Life = { over: true }
  /** Undefined while none has finished starting. */
  node: RunningNode | undefined
  /** Grows with each change of what its node knows of members, registrations and its own units. */
  revision = 0
  /** Since the power last came, its node was killed or frozen, so that its units were not seen to for a while. */
  wasHeldUp = false
  /** Its node is to start again when it has ended. */
  again = false
  /** What its API answers with; undefined while it is closed. */
  api: readonly ServiceImplementation[] | undefined
  /** Errors its nodes logged. */
  readonly errors: LoggedError[] = []
  readonly #clock: SimClock

  constructor(clock: SimClock, setup: NodeSetup, address: string, behaviours: Map<string, Behaviour>) {
    this.#clock = clock
    this.name = setup.name
    this.setup = setup
    this.address = address
    this.behaviours = behaviours
    const seed = createHash('sha256').update(`simulated node ${setup.name}`).digest()
    this.fingerprint = createHash('sha256').update(seed).digest('hex')
    const identity = identityFrom(seed)
    this.nodeId = identity.nodeId
    const kept = { nodeId: identity.nodeId, privateKey: Buffer.from(identity.privateKey).toString('base64') }
    const bytes = Buffer.from(JSON.stringify(kept))
    this.disk.set('identity.json', bytes)
    this.disk.flushed.set('identity.json', bytes)
    this.events = new SimEventDisk(() => clock.wallMs())
    this.host = new SimHost(clock)
    this.host.play((request) => scriptOf(request, behaviours.get(request.unit)))
    this.host.run = async (_argv, { env }) => {
      const fault = this.faultOf(this.host.programs.find(({ instance }) => instance === env?.['HSU_INSTANCE']))
      return { exit: { code: fault === '' ? 0 : 1 }, stdout: fault }
    }
    const byPort = (text: string): Probe => {
      const port = /:?(\d+)(?:\/|$)/.exec(text.replace(/^[a-z]+:\/\//, ''))?.[1]
      return () => this.answer(port)
    }
    this.host.reach = { tcp: byPort, http: ({ url }) => byPort(url), file: () => async () => true }
  }

  /** The only address of this host. */
  networks(): readonly HostNetwork[] {
    const { address } = this
    const includes = (other: string): boolean => other.startsWith('10.')
    return [{ interface: 'eth0', address, family: 4, mac: '02:00:00:00:00:01', kind: 'lan', includes }]
  }

  /** The multiaddress of the mesh port. */
  get meshAddresses(): readonly string[] {
    return [`/ip4/${this.address}/tcp/9471/p2p/${this.nodeId}`]
  }

  /** The answer of the program that was given this port. @throws Error saying why it is none */
  async answer(port: string | undefined): Promise<boolean> {
    const owner = this.host.programs.find(({ env }) =>
      Object.entries(env).some(([name, value]) => name.startsWith('HSU_PORT_') && value === port),
    )
    // What no unit was given is somebody else's, and well.
    const fault = owner === undefined ? '' : this.faultOf(owner)
    if (fault !== '') throw new Error(fault)
    return true
  }

  /** Why a program does not answer; '' when it does. */
  faultOf(program: SimProgram | undefined): string {
    if (program === undefined) return 'it does not run'
    const { unit, env, startedAtMs } = program
    if (this.sick.has(unit) || this.sick.has(`${unit}/${env['HSU_REPLICA']}`)) return 'it is sick'
    const { readyAfterMs = 0 } = this.behaviours.get(unit) ?? {}
    return this.#clock.nowMs() - startedAtMs >= readyAfterMs ? '' : 'connection refused'
  }

  /** A log of which only errors are kept. */
  log(): typeof silentLog {
    const error = (message: string, fields: Readonly<Record<string, unknown>> = {}): void => {
      if (this.errors.length < MAX_ERRORS) this.errors.push({ atMs: this.#clock.nowMs(), message, fields })
    }
    const log: typeof silentLog = { ...silentLog, error, with: () => log }
    return log
  }

  /** The power goes: no program is left, and what was not flushed is torn or as it was before. */
  losePower(how: 'torn' | 'before'): void {
    this.wasHeldUp = false
    this.host.reboot()
    this.disk.loseThePower(how)
  }
}

/** More of one machine say nothing new. */
const MAX_ERRORS = 100
