import type { Log } from '../../base/log.ts'
import { createListener, type Takeover } from '../call-listener.ts'
import type { Door, DoorHandle } from '../door.ts'
import { TcpConnections, type TcpConnectionsConfig, type TcpConnectionsSeams } from './tcp-connections.ts'

export interface TcpDoorSeams extends TcpConnectionsSeams {
  readonly log: Log
}

export interface TcpDoorConfig extends TcpConnectionsConfig {
  /** `host:port`; port 0 = a free one. */
  readonly listen: string
  readonly takeover?: Takeover
}

/** Takes TCP connections for a unit, also while that sleeps, and passes them on. */
export interface TcpDoor extends Door {
  /** The real `host:port`. */
  address(): string
  handle(): DoorHandle | undefined
}

/** @throws HsuError `CONFIG_INVALID` from `start` when the address cannot be had: no other one would do */
export function createTcpDoor(seams: TcpDoorSeams, config: TcpDoorConfig): TcpDoor {
  const { listen, takeover, unit } = config
  const name = `unit '${unit}'`
  const listener = createListener(new TcpConnections(seams, config), seams, {
    ...{ name, listen, raw: true },
    ...(takeover && { takeover }),
  })
  return {
    name,
    address: () => listener.address(),
    handle: () => listener.handle(),
    start: () => listener.start(),
    open: () => listener.open(),
    retire: (graceMs) => listener.stop(graceMs),
    stop: () => listener.stop(0),
  }
}
