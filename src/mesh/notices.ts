import { createTopic, type Topic, type TopicSource } from '../base/topic.ts'
import type { MeshEvent } from './member.ts'

/** How the mesh tells its owner what happens. */
export interface Notices {
  readonly changes: Topic<void>
  readonly events: Topic<MeshEvent>
  /** Members or registrations changed: `changes` fires once at the end of this turn, however often this is called. */
  changed(): void
  /** Fires at the end of this turn too, after the change that it tells of. */
  tell(event: MeshEvent): void
}

export function createNotices(onError: (error: unknown) => void): Notices {
  const changes: TopicSource<void> = createTopic()
  const events: TopicSource<MeshEvent> = createTopic()
  let due: { changed: boolean; events: MeshEvent[] } | undefined

  function schedule(): { changed: boolean; events: MeshEvent[] } {
    if (due !== undefined) return due
    due = { changed: false, events: [] }
    Promise.resolve().then(fire).catch(onError)
    return due
  }

  function fire(): void {
    const now = due
    due = undefined
    // A listener that throws must not keep the others from being told.
    const tasks = [
      ...(now?.events ?? []).map((event) => () => events.publish(event)),
      ...(now?.changed === true ? [() => changes.publish()] : []),
    ]
    for (const task of tasks) {
      try {
        task()
      } catch (error) {
        onError(error)
      }
    }
  }

  return {
    changes,
    events,
    changed() {
      schedule().changed = true
    },
    tell(event) {
      schedule().events.push(event)
    },
  }
}
