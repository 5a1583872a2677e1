import { networkInterfaces } from 'node:os'
import type { Clock } from '../../base/clock.ts'
import { messageOf } from '../../base/error.ts'
import { every } from '../../base/every.ts'
import { type HostNetwork, hostNetworks, type Interfaces } from '../../base/host-networks.ts'
import { background, type Service } from '../../base/lifecycle.ts'
import type { Log } from '../../base/log.ts'
import type { Random } from '../../base/random.ts'
import { createTopic, type Topic, type TopicSource } from '../../base/topic.ts'

/** The networks this host is in now. Node cannot be told of changes, so they are looked at. */
export interface NetworkWatch extends Service {
  networks(): readonly HostNetwork[]
  /** An interface or an address came or went. */
  readonly changes: Topic<void>
}

/** A look costs 0.1 to 0.3 ms; a host that gets its cable back should be heard of soon. */
const LOOK_EVERY_MS = 1_000

export function createNetworkWatch(
  { clock, random, log }: { readonly clock: Clock; readonly random: Random; readonly log: Log },
  read: () => Interfaces = networkInterfaces,
): NetworkWatch {
  const changes: TopicSource<void> = createTopic()
  const first = read()
  let known = JSON.stringify(first)
  let networks = hostNetworks(first)

  async function look(): Promise<void> {
    const interfaces = read()
    const now = JSON.stringify(interfaces)
    if (now === known) return
    known = now
    networks = hostNetworks(interfaces)
    log.debug('networks of this host changed', { addresses: networks.map(({ address }) => address).join(', ') })
    changes.publish()
  }

  const onError = (error: unknown): void => log.warn('interfaces cannot be listed', { cause: messageOf(error) })
  const looking = background('networks', (signal) =>
    every(look, signal, { intervalMs: LOOK_EVERY_MS, jitter: 0.1, clock, random, onError }),
  )
  return { ...looking, networks: () => networks, changes }
}
