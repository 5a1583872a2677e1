import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { createLan, lanMissing, type Wire } from '../test/support/lan.ts'
import { until } from './nodes.ts'

/** Hosts of a LAN that loses frames, and how programs of this host get to their ingress. */
export interface ChaosLan {
  readonly wire: Wire
  /** For the report. */
  readonly label: string
  /** What a node on that host is started with. */
  host(name: string, keyFile: string, units: object): LanNode
  /** An address of this host that leads to the ingress of that one, without loss. */
  wayTo(name: string): Promise<string>
  remove(): void
}

interface LanNode {
  readonly ingress: number
  readonly config: object
  readonly prefix: readonly string[]
}

/** Each host has its ports for itself. */
const INGRESS_PORT = 9470

/** Runs on a host: from a unix socket, which all hosts see, to the ingress. */
const PASSAGE = `
const { createServer, connect } = require('node:net')
createServer((near) => {
  const far = connect(${INGRESS_PORT}, '127.0.0.1')
  near.on('error', () => far.destroy()).pipe(far)
  far.on('error', () => near.destroy()).pipe(near)
}).listen(process.argv[1])
`

/** @throws Error when network namespaces cannot be made here */
export function createChaosLan(home: string, names: readonly string[], wire: Wire): ChaosLan {
  const missing = lanMissing()
  if (missing !== undefined) throw new Error(`--loss ${missing}`)
  const ends: (() => unknown)[] = []
  const lan = createLan({ teardown: (...tasks) => void ends.push(...(tasks as (() => unknown)[])) }, names, wire)
  const prefixOf = (name: string): readonly string[] => lan.find((host) => host.name === name)?.prefix ?? []
  return {
    wire,
    label: `, ${wire.loss * 100} % of frames lost between hosts, ${wire.delayMs} ms on the way`,
    host: (name, keyFile, units) => ({
      ingress: INGRESS_PORT,
      prefix: prefixOf(name),
      config: { version: 1, node: { name }, mesh: { name: 'chaos', key_file: keyFile }, units },
    }),
    async wayTo(name) {
      const path = join(home, `${name}.sock`)
      const [file, ...args] = ['env', ...prefixOf(name), process.execPath, '-e', PASSAGE, path] as const
      const passage = spawn(file, args, { stdio: 'inherit' })
      ends.push(() => passage.kill('SIGKILL'))
      await until(() => existsSync(path))
      return `unix:${path}`
    },
    remove() {
      for (const end of ends.reverse()) end()
    },
  }
}
