import type { Random } from '../base/random.ts'
import type { Outside } from '../node/index.ts'
import type { ServiceImplementation } from '../rpc/index.ts'
import { type Life, mortal } from './life.ts'
import type { Machine } from './machine.ts'
import type { SimClock } from './sim-clock.ts'
import type { SimNetwork } from './sim-network.ts'
import { simOutput } from './sim-output.ts'
import { simServers } from './sim-servers.ts'
import { simStore } from './sim-store.ts'

export interface Surroundings {
  readonly clock: SimClock
  readonly network: SimNetwork
  readonly random: Random
  /** The API of another node, by its name or id. @throws HsuError NODE_UNREACHABLE */
  readonly reach: (from: Machine, to: string) => Promise<readonly ServiceImplementation[]>
}

/** The seeds of a configuration that are the mesh port of a machine, by address or by name. */
function isSeedOf(seeds: readonly string[], { address, name }: Machine): boolean {
  return seeds.some((seed) => [address, name].includes(seed.replace(/:\d+$/, '').replace(/^\[|\]$/g, '')))
}

/** What a node on `machine` takes for the world, until its life is over. */
export function simOutside(
  { clock: world, network, random, reach }: Surroundings,
  machine: Machine,
  machines: () => readonly Machine[],
  life: Life,
): Outside {
  const { nodeId, behaviours } = machine
  const clock = network.clockOf(nodeId, life)
  const guarded = mortal(life, (ms) => clock.sleep(ms), random)
  return {
    clock,
    random,
    log: machine.log(),
    host: guarded.host(machine.host),
    pid: 1,
    disk: {
      store: () => guarded.store(simStore(machine.disk)),
      events: () => guarded.events(machine.events),
      lock: () => ({ ...NO_LOCK }),
      keyFile: () => async (keys) => {
        machine.keyFile = keys
      },
      replaceFile: async () => undefined,
      lineFile: () => ({ append: async () => undefined, close: async () => undefined }),
    },
    network: {
      async transport(_seams, { keys, discovery }) {
        const transport = network.transport(nodeId)
        transport.keys = keys
        transport.own = machine.meshAddresses
        transport.mdns = discovery.mdns
        transport.isSeed = ({ nodeId: id }) =>
          machines().some((other) => other.nodeId === id && isSeedOf(discovery.seeds, other))
        return transport
      },
      loop: () => network.loopOf(nodeId),
      addresses: () => machine.networks(),
      certificate: async () => ({ certPem: '', keyPem: '', fingerprint: machine.fingerprint }),
      post: () => ({ send: async () => ({ status: 200, text: '{}', retryAfterMs: 0 }), close: () => undefined }),
      prober: () => ({
        check: (address) => machine.answer(portOf(address)),
        faultOf: async (address) =>
          machine.answer(portOf(address)).then(
            () => '',
            (error: unknown) => (error instanceof Error ? error.message : String(error)),
          ),
        services: async (address) => [...(behaviours.get(unitAt(machine, portOf(address)))?.services ?? [])],
        close: () => undefined,
      }),
    },
    servers: simServers({
      reach: (to) => (to === undefined ? Promise.resolve(machine.api ?? []) : reach(machine, to)),
      serve: (services) => {
        if (!life.over) machine.api = services
      },
    }),
    supervision: {
      output: simOutput({
        wallMs: () => clock.wallMs(),
        later: (ms, act) => void world.after(ms, () => life.over || act()),
        saidBy: (unit) => {
          const { says, readyAfterMs = 0 } = behaviours.get(unit) ?? {}
          return says === undefined ? undefined : { afterMs: readyAfterMs, line: says }
        },
      }),
      fileWatcher: { watch: async () => async () => undefined },
    },
  }
}

const NO_LOCK = {
  name: 'data directory lock',
  start: async () => undefined,
  stop: async () => undefined,
  passTo: async () => undefined,
}

function portOf(address: string): string {
  return address.replace(/^.*:/, '')
}

function unitAt({ host }: Machine, port: string): string {
  const owner = host.programs.find(({ env }) =>
    Object.entries(env).some(([name, value]) => name.startsWith('HSU_PORT_') && value === port),
  )
  return owner?.unit ?? ''
}
