import { writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { HsuError, messageOf, systemCode } from '../../base/error.ts'
import type { Command } from '../command.ts'
import { text } from '../options.ts'

const DEFAULT_FILE = 'mesh.key'

export const meshCreateCommand: Command = {
  name: 'mesh create',
  summary: 'make the key of a new mesh',
  description: 'Whoever has the key is in, whoever has not cannot even connect. Never overwrites a file.',
  args: [],
  options: [{ flags: '--out <file>', summary: `where to put the key; default: ${DEFAULT_FILE} here` }],
  json: '{file, fingerprint}',

  async run({ options }, context) {
    const file = resolve(context.cwd, text(options, 'out') ?? DEFAULT_FILE)
    const local = await context.local()
    const content = local.createMeshKey()
    await writeFile(file, content, { mode: 0o600, flag: 'wx' }).catch((error: unknown) => {
      throw cannotWrite(file, error)
    })
    const [fingerprint = ''] = local.meshKeyFingerprints(content, file)
    const value = { file, fingerprint }
    await context.output.print(value, ({ fingerprint }) => nextSteps(file, fingerprint))
    return undefined
  },
}

function cannotWrite(file: string, error: unknown): HsuError {
  if (systemCode(error) === 'EEXIST') {
    return new HsuError('USAGE', `${file} is there already and is never overwritten; choose another file with --out`)
  }
  return new HsuError('NOT_PERMITTED', `cannot write ${file}: ${messageOf(error)}`, { cause: error })
}

function nextSteps(file: string, fingerprint: string): string {
  return [
    `made ${file} (fingerprint ${fingerprint}); keep it secret`,
    '',
    'On this host, in hsu.yaml:',
    '  mesh:',
    '    name: my-mesh',
    `    key_file: ${file}`,
    '',
    'Copy the file to the other hosts (scp, USB stick), write the same there, and start each: hsu up',
  ].join('\n')
}
