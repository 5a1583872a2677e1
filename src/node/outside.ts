import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { fileStore } from '../base/file-store.ts'
import { type HostNetwork, hostNetworks } from '../base/host-networks.ts'
import { jsonPost } from '../base/json-post.ts'
import type { Log } from '../base/log.ts'
import type { Random } from '../base/random.ts'
import { replaceFile } from '../base/replace-file.ts'
import type { Store } from '../base/store.ts'
import { systemClock } from '../base/system-clock.ts'
import { systemLoopDelay } from '../base/system-loop-delay.ts'
import { systemRandom } from '../base/system-random.ts'
import { type Libp2pConfig, type Libp2pSeams, libp2pTransport, type LoopWatch, type Transport } from '../mesh/index.ts'
import { type ProcessHost, type SupervisorSeams, systemHost } from '../process/index.ts'
import {
  connect,
  createApiServer,
  createControlFront,
  createGrpcProber,
  type CallDoors,
  createCallDoors,
  createLinkCertificate,
  createTcpDoor,
  createXdsServer,
  type GrpcProber,
  type LinkCertificate,
} from '../rpc/index.ts'
import { createAdmin } from './admin/admin.ts'
import { type LineFile, type LineFileConfig, lineFile } from './calls/line-file.ts'
import { type DataDirLock, type DataDirLockConfig, dataDirLock } from './data-dir-lock.ts'
import { type EventDisk, fileEventDisk } from './event-disk.ts'
import { keyFileWriter } from './mesh-key-file.ts'

/**
 * Everything outside a node that is not a pure function of its inputs: time, chance, disk, processes, network, servers.
 * The real ends are `systemOutside()`; the simulator (src/sim) has others, on which whole nodes run.
 */
export interface Outside {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly host: ProcessHost
  /** Of the process that the node is. */
  readonly pid: number
  readonly disk: OutsideDisk
  readonly network: OutsideNetwork
  readonly servers: Servers
  /** What else a supervisor takes from outside; its own defaults hold for what is left out. */
  readonly supervision?: Pick<SupervisorSeams, 'output' | 'fileWatcher'>
}

/** What a node keeps. */
export interface OutsideDisk {
  store(dataDir: string): Store
  events(dataDir: string): EventDisk
  /** Lets one node at a time have the data directory. */
  lock(config: DataDirLockConfig): DataDirLock
  /** Writes mesh keys to the file that people copy to other hosts. */
  keyFile(file: string): (keys: readonly Uint8Array[]) => Promise<void>
  /** Writes a small file for other programs of the user, in one step. */
  replaceFile(file: string, content: string): Promise<void>
  /** Lines about calls, kept within bounds. */
  lineFile(config: LineFileConfig): LineFile
}

/** How a node meets the others. */
export interface OutsideNetwork {
  /** Loads what it takes, which is why it is called late and only for a node with a mesh. */
  transport(seams: Libp2pSeams, config: Libp2pConfig): Promise<Transport>
  /** Watches the event loop of this process from now on. */
  loop(): LoopWatch
  /** The addresses of this host and the networks they are in, now. */
  addresses(): readonly HostNetwork[]
  certificate(lifetimeMs: number): Promise<LinkCertificate>
  /** For collectors. */
  post: typeof jsonPost
  /** Asks units over gRPC. */
  prober(): GrpcProber
}

/** What others call this node by, and how it calls itself. */
export interface Servers {
  readonly ingress: CallDoors['ingress']
  readonly link: CallDoors['link']
  readonly calls: CallDoors['calls']
  readonly watch: CallDoors['watch']
  readonly faults: CallDoors['faults']
  readonly api: typeof createApiServer
  readonly front: typeof createControlFront
  readonly admin: typeof createAdmin
  readonly xds: typeof createXdsServer
  readonly tcp: typeof createTcpDoor
  readonly connect: typeof connect
}

/** A certificate is shown to whoever connects: it says nothing of the node. */
const CERTIFICATE_NAME = 'link'

/** How finely the mesh watches the event loop: well below the time a ping may take, and ten timers a second. */
const LOOP_RESOLUTION_MS = 100

const SERVERS: Omit<Servers, keyof CallDoors> = {
  api: createApiServer,
  front: createControlFront,
  admin: createAdmin,
  xds: createXdsServer,
  tcp: createTcpDoor,
  connect,
}

/** This host as it is. */
export function systemOutside(log: Log): Outside {
  const host = systemHost()
  return {
    clock: systemClock,
    random: systemRandom,
    log,
    host,
    pid: process.pid,
    disk: {
      store: fileStore,
      events: (dataDir) => fileEventDisk(join(dataDir, 'events')),
      lock: (config) => dataDirLock(host.table, config),
      keyFile: (file) => keyFileWriter(file, log),
      replaceFile,
      lineFile,
    },
    network: {
      transport: libp2pTransport,
      loop: () => systemLoopDelay(LOOP_RESOLUTION_MS),
      addresses: () => hostNetworks(),
      certificate: (lifetimeMs) => createLinkCertificate(systemClock, CERTIFICATE_NAME, lifetimeMs),
      prober: createGrpcProber,
      post: jsonPost,
    },
    servers: { ...SERVERS, ...createCallDoors() },
  }
}
