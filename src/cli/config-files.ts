import type { Input, Option } from './command.ts'
import { list } from './options.ts'

/** The option of commands that read configuration files. */
export const FILE_OPTION: Option = {
  flags: '-f, --file <file>',
  summary: 'configuration file; given several times, later files win; default: hsu.yaml here',
  many: true,
}

/** The files named with `-f`, as they were typed; none = the usual one in the working directory. */
export function configFiles({ options }: Input): readonly string[] {
  return list(options, 'file')
}
