import type { Turn } from './turn.ts'

/** The event loop of this thread. */
export const systemTurn: Turn = {
  soon: (task) => void setImmediate(task),
  after: (ms, task) => void setTimeout(task, ms).unref(),
}
