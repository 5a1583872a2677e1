import { HsuError } from '../../base/error.ts'
import type { Command } from '../command.ts'
import { VERSION } from '../../base/version.ts'

/** Commands of the design that this version does not have, and what to do instead. */
const NOT_YET: Readonly<Record<string, string>> = {
  drain: 'stop units with `hsu stop`, which drains them first',
  'mesh leave': 'stop the node with `hsu down`, or remove `mesh` from hsu.yaml and start it again',
}

/** They answer by name, so that nobody takes them for a typing mistake, and stay out of help. */
export const notYetCommands: readonly Command[] = Object.entries(NOT_YET).map(([name, instead]) => ({
  name,
  summary: `not there yet in ${VERSION}`,
  args: [],
  options: [],
  hidden: true,
  async run() {
    throw new HsuError('UNSUPPORTED', `hsu ${name} is not there yet in ${VERSION}; ${instead}`, {
      details: { command: name },
    })
  },
}))
