import { createTopic } from '../base/topic.ts'
import type { InstanceStatus, ProcessEvent, Supervisor } from '../process/index.ts'

/** A supervisor that can be followed by another one in this process, after a third one in another process had its units. */
export interface SupervisorInTurn extends Supervisor {
  /** From now on this means a new supervisor, not started yet. The one before must have been abandoned. */
  renew(): void
}

/** `make` is told whether its supervisor goes on where another one stopped. Who subscribed stays subscribed. */
export function supervisorInTurn(make: (goesOn: boolean) => Supervisor, goesOn: boolean): SupervisorInTurn {
  const changes = createTopic<InstanceStatus>()
  const events = createTopic<ProcessEvent>()
  const begin = (supervisor: Supervisor): Supervisor => {
    supervisor.changes.subscribe((status) => changes.publish(status))
    supervisor.events.subscribe((event) => events.publish(event))
    return supervisor
  }
  let current = begin(make(goesOn))
  const own: Partial<SupervisorInTurn> = {
    changes,
    events,
    renew() {
      current = begin(make(true))
    },
  }
  // Everything else is passed on, whatever a supervisor comes to offer.
  return new Proxy(own as SupervisorInTurn, {
    get(_target, key) {
      if (Object.hasOwn(own, key)) return own[key as keyof SupervisorInTurn]
      const value: unknown = Reflect.get(current, key)
      return typeof value === 'function' ? (value.bind(current) as unknown) : value
    },
  })
}
