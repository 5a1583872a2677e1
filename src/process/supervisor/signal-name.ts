import { constants } from 'node:os'
import { HsuError } from '../../base/error.ts'

/** Understands `TERM`, `SIGTERM` and `term`. @throws HsuError `USAGE` */
export function parseSignalName(text: string): NodeJS.Signals {
  const name = `SIG${text.toUpperCase().replace(/^SIG/, '')}`
  if (Object.hasOwn(constants.signals, name)) return name as NodeJS.Signals
  throw new HsuError('USAGE', `'${text}' is no signal of this system; write one such as TERM, HUP or USR1`, {
    details: { signal: text },
  })
}
