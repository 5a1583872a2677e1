import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { HsuError, messageOf } from '../../base/error.ts'
import type { Command } from '../command.ts'

const DEFAULT_FILE = 'mesh.key'

export const meshKeyCommand: Command = {
  name: 'mesh key',
  summary: 'show the fingerprint of a mesh key, to compare hosts without showing the key',
  args: [{ name: 'file', summary: `key file; default: ${DEFAULT_FILE} here`, required: false }],
  options: [],
  json: '{file, fingerprint}',

  async run({ args }, context) {
    const file = resolve(context.cwd, args[0] ?? DEFAULT_FILE)
    const content = await readFile(file, 'utf8').catch((error: unknown) => {
      throw new HsuError('USAGE', `cannot read ${file}: ${messageOf(error)}; \`hsu mesh create\` makes a key`)
    })
    const [fingerprint = ''] = (await context.local()).meshKeyFingerprints(content, file)
    await context.output.print({ file, fingerprint }, (value) => `${value.fingerprint}  ${value.file}`)
    return undefined
  },
}
