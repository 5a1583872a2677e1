import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import type { Random } from '../base/random.ts'
import type { Store } from '../base/store.ts'
import type { Identity } from './identity.ts'

/** What the libp2p transport needs of the outside world. */
export interface Libp2pSeams {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly store: Store
  readonly identity: Identity
}

/** How and with whom the libp2p transport connects. */
export interface Libp2pConfig {
  /** The mesh keys in force, newest first, 32 bytes each; asked for each connection. Whoever has one of them is in. */
  readonly keys: () => readonly Uint8Array[]
  /** `host:port` of the mesh port; port 0 lets the system choose. */
  readonly listen: string
  readonly discovery: {
    readonly mdns: boolean
    /** `host:port` each. */
    readonly seeds: readonly string[]
    /** Names or addresses; empty = every usable one. */
    readonly interfaces: readonly string[]
  }
}
