import type { Tell } from './causes.ts'
import type { News } from './unit-news.ts'

/** The events of one slot, each linked to the one that brought it about. */
export interface Trail {
  /** Id of the event that explains the present state; '' when there is none. */
  readonly head: string
  /** What comes next comes because of this event. An empty id changes nothing. */
  follow(causedBy: string): void
  /** Returns the id of the event. */
  tell(news: News, instance: string): string
}

/** `head` is where the trail of an earlier node ended. */
export function createTrail(unit: string, head: string, tell: Tell): Trail {
  let last = head
  return {
    get head() {
      return last
    },
    follow(causedBy) {
      if (causedBy !== '') last = causedBy
    },
    tell({ follows, ...news }, instance) {
      last = tell({ ...news, unit, instance, causedBy: follows ? last : '' })
      return last
    },
  }
}
