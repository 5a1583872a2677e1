import { resolve } from 'node:path'
import type { MessageInitShape } from '@bufbuild/protobuf'
import { HsuError } from '../base/error.ts'
import type { FindSchema } from '../rpc/index.ts'
import type { Input, Option } from './command.ts'
import { count, list, text } from './options.ts'

/** How a process is told from others on the command line. */
export const FIND_OPTIONS: readonly Option[] = [
  { flags: '--name <name>', summary: 'name of the executable; of a tree of processes, the root is meant' },
  { flags: '--arg <text>', summary: 'with --name: must be among the arguments of the process', many: true },
  { flags: '--pid <pid>', summary: 'process id' },
  { flags: '--pid-file <file>', summary: 'file that holds the process id' },
  { flags: '--port <port>', summary: 'tcp/PORT or udp/PORT that it listens on' },
  { flags: '--service <name>', summary: 'systemd service' },
]

type FindInit = MessageInitShape<typeof FindSchema>

/** The one way that was given. A relative pid file is one in the working directory. @throws HsuError USAGE */
export function findOf({ options }: Pick<Input, 'options'>, cwd: string): FindInit {
  const pid = count(options, 'pid')
  const pidFile = text(options, 'pidFile')
  const [name, port, service] = ['name', 'port', 'service'].map((option) => text(options, option))
  const ways: NonNullable<FindInit['way']>[] = []
  if (pid !== undefined) ways.push({ case: 'pid', value: pid })
  if (pidFile !== undefined) ways.push({ case: 'pidFile', value: resolve(cwd, pidFile) })
  if (name !== undefined) ways.push({ case: 'name', value: name })
  if (port !== undefined) ways.push({ case: 'port', value: port })
  if (service !== undefined) ways.push({ case: 'service', value: service })
  const [way, ...others] = ways
  if (way === undefined || others.length > 0) {
    throw new HsuError('USAGE', 'give exactly one of --name, --pid, --pid-file, --port and --service')
  }
  return { way, args: [...list(options, 'arg')] }
}
