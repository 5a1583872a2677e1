import { connect } from 'node:net'
import { HsuError } from '../../base/error.ts'
import type { Probe } from '../probe.ts'

/** Passing when a connection is accepted; it is closed at once. */
export function tcpProbe(address: string): Probe {
  const target = parseAddress(address)
  return (signal) =>
    new Promise((resolve, reject) => {
      const socket = connect({ ...target, signal })
      socket.once('connect', () => {
        socket.destroy()
        resolve(true)
      })
      socket.once('error', reject)
    })
}

/** `PORT` (on 127.0.0.1), `HOST:PORT`, `[v6]:PORT` or `unix:PATH`. @throws HsuError `CONFIG_INVALID` */
function parseAddress(address: string): { host: string; port: number } | { path: string } {
  if (/^unix:./.test(address)) return { path: address.slice('unix:'.length) }
  const match = /^(?:(?:\[([^\]]+)\]|([^:[\]]+)):)?(\d{1,5})$/.exec(address)
  const port = Number(match?.[3])
  if (match !== null && port >= 1 && port <= 65_535) return { host: match[1] ?? match[2] ?? '127.0.0.1', port }
  const text = `tcp probe: '${address}' is not an address; write a port, host:port, [v6]:port or unix:PATH`
  throw new HsuError('CONFIG_INVALID', text, { details: { address } })
}
