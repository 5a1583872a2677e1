import { execFileSync, spawn } from 'node:child_process'
import type { Test } from 'tap'
import { fromRoot } from './paths.ts'
import { until } from './until.ts'

/** Why hosts as network namespaces cannot be made here; undefined when they can. */
export function lanMissing(): string | undefined {
  if (process.platform !== 'linux') return 'needs Linux network namespaces'
  if (process.getuid?.() !== 0) return 'needs root, to make network namespaces'
  try {
    execFileSync('ip', ['netns', 'list'], { stdio: 'ignore' })
    return undefined
  } catch {
    return 'needs iproute2 and the right to make network namespaces'
  }
}

/** One host of a simulated LAN: a network namespace with one interface `eth0`. */
export interface LanHost {
  readonly name: string
  /** Name of its network namespace. */
  readonly namespace: string
  readonly address: string
  /** Put in front of a command to run it on this host. */
  readonly prefix: readonly string[]
  /** Pulls the cable out, or puts it back: the host's own interface loses its carrier. */
  cable(state: 'in' | 'out'): void
  /** From now on the segment passes no multicast on to this host; ARP, which is broadcast, it does. */
  filterMulticast(): void
  /** From now on frames from or to this host that are larger vanish in the segment, and nobody is told. */
  mtuOfSegment(bytes: number): void
  /** Runs `ip` on the host: `ip('address', 'add', ...)`. */
  ip(...args: string[]): void
}

/** What the wire between the hosts does to frames, each way. */
export interface Wire {
  /** Part of the frames that is lost, 0 to 1. */
  readonly loss: number
  readonly delayMs: number
}

/**
 * Hosts on one Ethernet segment, made of network namespaces: a bridge in a namespace of its own, and a virtual cable to
 * each host. Nothing of it touches the machine's real interfaces. Removed when the test ends.
 */
export function createLan(t: Pick<Test, 'teardown'>, hosts: readonly string[], wire?: Wire): readonly LanHost[] {
  const tag = `hsu${process.pid}`
  const hub = `${tag}-hub`
  const ip = (...args: string[]): void => void execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] })
  const made: string[] = []
  const namespace = (name: string): void => {
    ip('netns', 'add', name)
    made.push(name)
    ip('-n', name, 'link', 'set', 'lo', 'up')
  }
  t.teardown(() => {
    for (const name of made) ip('netns', 'delete', name)
  })

  namespace(hub)
  ip('-n', hub, 'link', 'add', 'br0', 'type', 'bridge', 'mcast_snooping', '0')
  ip('-n', hub, 'link', 'set', 'br0', 'up')
  const lan = hosts.map((host, index) => {
    const name = `${tag}-${host}`
    const port = `p${index}`
    const address = `10.77.0.${index + 1}`
    namespace(name)
    ip('-n', hub, 'link', 'add', port, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name)
    ip('-n', hub, 'link', 'set', port, ...(wire === undefined ? ['master', 'br0'] : []), 'up')
    ip('-n', name, 'address', 'add', `${address}/24`, 'dev', 'eth0')
    ip('-n', name, 'link', 'set', 'eth0', 'up')
    return {
      name: host,
      namespace: name,
      address,
      prefix: ['ip', 'netns', 'exec', name],
      cable: (state: 'in' | 'out') => ip('-n', hub, 'link', 'set', port, state === 'in' ? 'up' : 'down'),
      filterMulticast: () => ip('-n', hub, 'link', 'set', port, 'type', 'bridge_slave', 'mcast_flood', 'off'),
      mtuOfSegment: (bytes: number) => ip('-n', hub, 'link', 'set', port, 'mtu', String(bytes)),
      ip: (...args: string[]) => ip('-n', name, ...args),
    }
  })
  if (wire !== undefined) startSwitch(t, hub, lan, wire)
  return lan
}

/** Kernels without netem lose and delay nothing, so that a program passes the frames on in place of the bridge. */
function startSwitch(t: Pick<Test, 'teardown'>, hub: string, lan: readonly LanHost[], { loss, delayMs }: Wire): void {
  const program = fromRoot('test/support/lossy-switch.py')
  for (const { prefix } of lan) {
    const [command = '', ...args] = prefix
    execFileSync(command, [...args, 'python3', program, 'plain', 'eth0'])
  }
  const ports = lan.map((_, index) => `p${index}`)
  const args = ['netns', 'exec', hub, 'python3', program, 'switch', String(loss), String(delayMs), ...ports]
  const running = spawn('ip', args, { stdio: ['ignore', 'ignore', 'inherit'] })
  t.teardown(() => running.kill('SIGKILL'))
}

/** A network namespace with nothing but loopback, where every port is free. Whatever runs in it ends with the test. */
export interface Loopback {
  /** Put in front of a command to run it in there. Unlike `ip netns exec` this leaves /sys as it is, control groups included. */
  readonly prefix: readonly string[]
  /** The processes in it. */
  pids(): number[]
}

export function createLoopback(t: Test): Loopback {
  const name = `hsu${process.pid}-${String(++loopbacks)}`
  const ip = (...args: string[]): string => execFileSync('ip', args, { encoding: 'utf8' })
  const pids = (): number[] => ip('netns', 'pids', name).split('\n').filter(Boolean).map(Number)
  ip('netns', 'add', name)
  t.teardown(async () => {
    for (const pid of pids()) process.kill(pid, 'SIGKILL')
    await until('the namespace to be empty', () => pids().length === 0)
    ip('netns', 'delete', name)
  })
  ip('-n', name, 'link', 'set', 'lo', 'up')
  return { prefix: ['nsenter', `--net=/run/netns/${name}`], pids }
}

let loopbacks = 0
