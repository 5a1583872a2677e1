import { access, writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { HsuError, messageOf, systemCode } from '../../base/error.ts'
import type { Command } from '../command.ts'
import { text } from '../options.ts'

const DEFAULT_FILE = 'mesh.key'
const CONFIG_FILE = 'hsu.yaml'

export const meshJoinCommand: Command = {
  name: 'mesh join',
  summary: 'fetch the mesh key with the code of an invitation',
  description:
    'Writes the key to a file that only this user can read, never over another one, and a `hsu.yaml` that uses it unless there is ' +
    'one here already; then `hsu up` joins.',
  args: [
    { name: 'code', summary: 'what `hsu mesh invite` printed; case and dashes do not matter', required: true },
    {
      name: 'address',
      summary: 'host:port of the link port of the inviting node, instead of those in the code',
      required: false,
    },
  ],
  options: [{ flags: '--out <file>', summary: `where to put the key; default: ${DEFAULT_FILE} here` }],
  json: '{mesh, file, fingerprint, seeds: [], config}; config is the file that was written, or null',
  examples: ['hsu mesh join 04HMA-SW9NF-...', 'hsu mesh join 04HMA-SW9NF-... 10.0.0.5:9472'],

  async run({ args: [code = '', address], options }, context) {
    const file = resolve(context.cwd, text(options, 'out') ?? DEFAULT_FILE)
    // Before the code is used up.
    if (await exists(file)) throw isThere(file)
    const local = await context.local()
    const { mesh, keyFile, seeds } = await local.joinByInvite(code, address, context.signal)
    await writeFile(file, keyFile, { mode: 0o600, flag: 'wx' }).catch((error: unknown) => {
      if (systemCode(error) === 'EEXIST') throw isThere(file)
      throw new HsuError('NOT_PERMITTED', `cannot write ${file}: ${messageOf(error)}`, { cause: error })
    })
    const [fingerprint = ''] = local.meshKeyFingerprints(keyFile, file)
    const section = sectionFor(mesh, file, seeds)
    const config = await writeConfig(resolve(context.cwd, CONFIG_FILE), section)
    const value = { mesh, file, fingerprint, seeds, config: config ?? null }
    await context.output.print(value, () => {
      const got = `${file} has the key of mesh ${mesh} (fingerprint ${fingerprint}); keep it secret`
      if (config !== undefined) return `${got}\n${config} uses it; start the node: hsu up`
      return `${got}\n\nPut this into your ${CONFIG_FILE}, and start the node: hsu up\n${section}`
    })
    return undefined
  },
}

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  )
}

function isThere(file: string): HsuError {
  return new HsuError('USAGE', `${file} is there already and is never overwritten; choose another file with --out`)
}

function sectionFor(mesh: string, file: string, seeds: readonly string[]): string {
  const lines = ['mesh:', `  name: ${mesh}`, `  key_file: ${JSON.stringify(file)}`, '  discovery:']
  return [...lines, `    seeds: [${seeds.map((seed) => JSON.stringify(seed)).join(', ')}]`, ''].join('\n')
}

/** The file, when it was not there before. */
async function writeConfig(file: string, section: string): Promise<string | undefined> {
  return writeFile(file, `version: 1\n${section}`, { flag: 'wx' }).then(
    () => file,
    () => undefined,
  )
}
