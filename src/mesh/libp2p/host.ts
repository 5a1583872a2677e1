import './polyfill.ts'
import { type GossipSub, gossipsub } from '@chainsafe/libp2p-gossipsub'
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { type Identify, identify } from '@libp2p/identify'
import type { ComponentLogger, ConnectionGater, ConnectionProtector, Libp2p, PrivateKey } from '@libp2p/interface'
import { noise } from '@libp2p/noise'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import type { Multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { HsuError, messageOf } from '../../base/error.ts'
import type { Log } from '../../base/log.ts'
import { MAX_MESSAGE_BYTES } from '../limits.ts'
import { formatHostPort, type HostPort, hostPortOf, listenAddresses } from './address.ts'
import type { HandshakeWatch } from './handshake.ts'

/** The one gossip topic. More topics would only grow the caches (findings/mesh.md 6). */
export const TOPIC = 'hsu/mesh/1'

/** What libp2p's parts know and its face does not show. */
interface Inside {
  /** Every address that we listen on, wildcards resolved to those of the interfaces. */
  listening(): Multiaddr[]
  readonly logger: ComponentLogger
}

interface HostServices extends Record<string, unknown> {
  readonly identify: Identify
  readonly pubsub: GossipSub
  readonly inside: Inside
}

/** A libp2p node with what HSU uses of it. */
export type Host = Libp2p<HostServices>

export interface HostConfig {
  /** Lets in whoever has a mesh key, and nobody else. */
  readonly protector: () => ConnectionProtector
  readonly privateKey: PrivateKey
  readonly listen: HostPort
}

/** The libp2p key of an Ed25519 seed of 32 bytes. */
export function privateKeyFrom(seed: Uint8Array): Promise<PrivateKey> {
  return generateKeyPairFromSeed('Ed25519', seed)
}

/**
 * Makes and starts a libp2p node. A port that is taken falls back to one that the system picks, with one warning that
 * names both.
 *
 * @throws HsuError CONFIG_INVALID when it cannot listen at all.
 */
export async function startHost(
  log: Log,
  config: HostConfig,
  gater: ConnectionGater,
  watch: HandshakeWatch,
): Promise<Host> {
  const configured = formatHostPort(config.listen)
  const first = await startOn(config, gater, watch, config.listen)
  if ('services' in first) return first
  if (!/EADDRINUSE|EACCES/.test(first.fault) || config.listen.port === 0) throw cannotListen(configured, first.fault)
  const second = await startOn(config, gater, watch, { ...config.listen, port: 0 })
  if (!('services' in second)) throw cannotListen(configured, second.fault)
  const used = second.services.inside.listening().map(hostPortOf)[0]
  log.warn('mesh port is taken, another one is used', {
    configured,
    used: used === undefined ? 'none' : formatHostPort({ ...config.listen, port: used.port }),
  })
  return second
}

async function startOn(
  config: HostConfig,
  gater: ConnectionGater,
  watch: HandshakeWatch,
  listen: HostPort,
): Promise<Host | { fault: string }> {
  const host = await createHost(config, gater, watch, listen)
  try {
    await host.start()
    return host
  } catch (error) {
    await host.stop()
    return { fault: messageOf(error) }
  }
}

function cannotListen(address: string, fault: string): HsuError {
  const why = /E[A-Z]{4,}/.exec(fault)?.[0] ?? fault
  return new HsuError('CONFIG_INVALID', `the mesh cannot listen on ${address}: ${why}; change listen.mesh`, {
    details: { address },
  })
}

/**
 * Limits are those of a LAN on which many nodes may share an address and all power up at once (findings/mesh.md 8).
 * libp2p's own liveness checks are off: the mesh pings its members itself. Nothing here dials: `Links` and `Seeds` do.
 */
function createHost(
  config: HostConfig,
  gater: ConnectionGater,
  watch: HandshakeWatch,
  listen: HostPort,
): Promise<Host> {
  return createLibp2p<HostServices>({
    start: false,
    privateKey: config.privateKey,
    nodeInfo: { name: 'hsu' },
    addresses: { listen: listenAddresses(listen) },
    transports: [tcp({ maxConnections: 2_048 })],
    connectionProtector: watch.protector(config.protector),
    connectionEncrypters: [watch.encrypter(noise())],
    streamMuxers: [yamux()],
    connectionGater: gater,
    connectionMonitor: { enabled: false },
    connectionManager: {
      maxConnections: 1_024,
      maxIncomingPendingConnections: 256,
      inboundConnectionThreshold: 500,
      inboundUpgradeTimeout: 5_000,
      maxParallelDials: 64,
      dialTimeout: 8_000,
      // TCP and five round trips of handshakes, on a network that delays and loses.
      addressDialTimeout: 3_000,
      connectionCloseTimeout: 500,
      addressSorter: () => 0,
    },
    services: {
      identify: identify({ timeout: 5_000 }),
      pubsub: gossipsub(GOSSIP),
      inside: ({ transportManager, logger }): Inside => ({ listening: () => transportManager.getAddrs(), logger }),
    },
  })
}

/** A member once let in is trusted, so that nothing is scored; members may well share one address. */
const TOLERANT = -1e9

const GOSSIP = {
  allowedTopics: [TOPIC],
  allowPublishToZeroTopicPeers: true,
  fallbackToFloodsub: false,
  tagMeshPeers: false,
  doPX: false,
  seenTTL: 30_000,
  maxInboundDataLength: MAX_MESSAGE_BYTES + 65_536,
  maxOutboundBufferSize: 8 * 1_048_576,
  scoreParams: { IPColocationFactorWeight: 0, behaviourPenaltyWeight: 0 },
  scoreThresholds: { gossipThreshold: TOLERANT, publishThreshold: TOLERANT, graylistThreshold: TOLERANT },
}
