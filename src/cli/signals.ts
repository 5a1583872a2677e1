import { createTopic, type Topic } from '../base/topic.ts'
import type { NodeRequest } from '../node/index.ts'

/** The process as a receiver of signals. */
export interface SignalSeams {
  readonly on: (signal: NodeJS.Signals, take: () => void) => void
  /** Somebody asks for the end; asked again, they mean it. */
  readonly interrupt: () => void
  /** The end is wanted, once, however often it is said. */
  readonly hangUp: () => void
  /** Whether the process was started at a terminal. */
  readonly hasTerminal: boolean
  readonly isTerminalThere: () => boolean
}

/**
 * Gives each signal its meaning. What only a node can do goes to the returned topic; a process without a node takes
 * SIGHUP as a request to end.
 *
 * SIGHUP has two: a daemon reloads, and a program at a terminal that was closed ends. SIGUSR1 would open the debugger
 * of Node.js on a port, to which nobody should come by accident.
 */
export function takeSignals({ on, interrupt, hangUp, hasTerminal, isTerminalThere }: SignalSeams): Topic<NodeRequest> {
  const requests = createTopic<NodeRequest>()
  let listeners = 0
  on('SIGINT', interrupt)
  on('SIGTERM', interrupt)
  on('SIGHUP', () => {
    if (listeners === 0 || (hasTerminal && !isTerminalThere())) hangUp()
    else requests.publish('reload')
  })
  return {
    subscribe(listener) {
      if (listeners === 0) {
        on('SIGQUIT', () => requests.publish('leave'))
        on('SIGUSR1', () => undefined)
        on('SIGUSR2', () => requests.publish('upgrade'))
      }
      listeners += 1
      const unsubscribe = requests.subscribe(listener)
      return () => {
        listeners -= 1
        unsubscribe()
      }
    },
  }
}
