import type { Clock } from '../../base/clock.ts'
import { createTopic, type Topic } from '../../base/topic.ts'
import { type Asker, countingIds, type Operation, type Origin, requested, type Tell } from '../causes.ts'
import type { ProcessEvent } from '../status.ts'

/** Where everything that happens to units is told, each event with an id by which later ones name it as their cause. */
export interface Account {
  readonly events: Topic<ProcessEvent>
  readonly tell: Tell
  /** Tells that somebody asked for something; nobody did when `asker` is undefined. `what` = the operation in words. */
  readonly request: (unit: string, operation: Operation, asker: Asker | undefined, what?: string) => Origin | undefined
}

/** Without `nextEventId` the ids are numbers that begin anew with each account. */
export function createAccount(clock: Pick<Clock, 'wallMs'>, nextEventId: () => string = countingIds()): Account {
  const events = createTopic<ProcessEvent>()
  const tell: Tell = (event) => {
    const id = nextEventId()
    events.publish({ causedBy: '', actor: '', ...event, id, wallMs: clock.wallMs() })
    return id
  }
  return {
    events,
    tell,
    request: (unit, operation, asker, what) => asker && { causedBy: tell(requested(unit, operation, asker, what)) },
  }
}
