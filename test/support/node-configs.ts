import { join } from 'node:path'
import { repoRoot } from './paths.ts'

/** Doors on loopback with ports the system chooses, so that tests do not meet. */
export const LISTEN = {
  ingress: '127.0.0.1:0',
  mesh: '127.0.0.1:0',
  link: '127.0.0.1:0',
  admin: '127.0.0.1:0',
  xds: '127.0.0.1:0',
}

/** The echo example as a unit. */
export const ECHO_UNIT = {
  kind: 'integrated',
  run: [process.execPath, join(repoRoot, 'dist/examples/echo-ts/server.js'), '--port', '{port.grpc}'],
  ports: { grpc: 'auto' },
}

/** A unit that does nothing until it is told to end. */
export const SLEEPER = { run: ['sleep', '86400'] }

/** A node by itself. */
export function aloneConfig(name: string, units: object = {}, node: object = {}): object {
  return { version: 1, node: { name, listen: LISTEN, ...node }, units }
}

/** A node in a mesh on loopback. */
export function meshConfig(name: string, keyFile: string, units: object = {}, discovery: object = {}): object {
  const mesh = { name: 'test', key_file: keyFile, discovery: { interfaces: ['lo', 'lo0'], ...discovery } }
  return { version: 1, node: { name, listen: LISTEN }, mesh, units }
}
