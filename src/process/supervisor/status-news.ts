import { createTopic, type Topic } from '../../base/topic.ts'
import type { InstanceStatus } from '../status.ts'

/** Which changes of slots are worth telling: those of state, readiness, pid, ports, reason and active runs. */
export interface StatusNews {
  readonly changes: Topic<InstanceStatus>
  /** To be called whenever a slot may have changed. */
  changed(status: InstanceStatus): void
  /** The unit, or one slot of it, is not listed any more, and this is how it is told. */
  gone(status: InstanceStatus): void
  /** The slot is gone; another of its name is news again. */
  forget(slot: SlotPlace): void
}

type SlotPlace = Pick<InstanceStatus, 'unit' | 'replica'>

/** `follow` is told of each such change after everybody else. */
export function createStatusNews(follow: (status: InstanceStatus) => void): StatusNews {
  const changes = createTopic<InstanceStatus>()
  /** What was told last of each slot. */
  const told = new Map<string, string>()
  return {
    changes,
    changed(status) {
      const { instance, state, ready, pid, ports, reason, job } = status
      const text = JSON.stringify([instance, state, ready, pid, ports, reason, job?.active])
      if (told.get(slotName(status)) === text) return
      told.set(slotName(status), text)
      changes.publish(status)
      follow(status)
    },
    gone: (status) => changes.publish(status),
    forget: (slot) => void told.delete(slotName(slot)),
  }
}

function slotName({ unit, replica }: SlotPlace): string {
  return `${unit}/${replica}`
}
