import { stringify } from 'yaml'
import type { NodeSetup } from '../../src/node/index.ts'
import { simSetup } from '../../src/sim/setups.ts'

/** What nodes of these names are told, which are alike. */
export async function simSetups(
  names: readonly string[],
  units: object,
  mesh: object = { name: 'test', key_file: 'key' },
): Promise<NodeSetup[]> {
  const text = stringify({ version: 1, mesh, units })
  const readFile = async (path: string): Promise<string> => {
    if (path.endsWith('hsu.yaml')) return text
    throw Object.assign(new Error(`no file ${path}`), { code: 'ENOENT' })
  }
  const sources = { files: ['hsu.yaml'], cwd: '/sim', env: {}, readFile }
  return Promise.all(names.map(async (name) => (await simSetup(sources, name)).setup))
}
