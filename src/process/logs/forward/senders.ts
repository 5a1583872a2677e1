import type { Clock } from '../../../base/clock.ts'
import type { Log } from '../../../base/log.ts'
import type { Random } from '../../../base/random.ts'
import { createSink } from './create-sink.ts'
import type { Destination } from './destination.ts'
import { Sender } from './sender.ts'

export interface SendersSeams {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}

/** The ways to all destinations: one for equal ones, however many units use it, closed when none does. */
export interface Senders {
  lend(destination: Destination, node: string): { readonly sender: Sender; readonly giveBack: () => void }
}

export function createSenders(seams: SendersSeams): Senders {
  const lent = new Map<string, { readonly sender: Sender; users: number }>()
  return {
    lend(destination, node) {
      const key = JSON.stringify(destination)
      const log = seams.log.with({ destination: destination.url })
      const each = lent.get(key) ?? { sender: new Sender({ ...seams, log }, createSink(destination, node)), users: 0 }
      lent.set(key, each)
      each.users += 1
      const giveBack = (): void => {
        each.users -= 1
        if (each.users > 0) return
        each.sender.close()
        lent.delete(key)
      }
      return { sender: each.sender, giveBack }
    },
  }
}
