import { withSignal } from '../base/abort.ts'
import { type Clock, within } from '../base/clock.ts'
import { Latch } from '../base/latch.ts'
import type { Service } from '../base/lifecycle.ts'
import { createTaskGroup } from '../base/task-group.ts'
import type { Topic } from '../base/topic.ts'
import { createWake } from '../base/wake.ts'

/** Units that have not told their services by then do not keep callers of unknown names waiting any longer. */
export const MAX_SETTLING_MS = 5_000

export interface OwnNamesSeams {
  readonly clock: Clock
  /** Whether some unit of this node is on its way and has not told its services. */
  readonly isUntold: () => boolean
  /** Told when that may have changed. */
  readonly changes: Topic<undefined>
  /** Resolves when joining the mesh is over. */
  readonly joined: () => Promise<void>
  /** It is known now. */
  readonly settled: () => void
}

/** Whether it is known, after the start of the node, what is offered in the mesh: until then an unknown name may be known soon. */
export interface OwnNames extends Service {
  /** Undefined when it is known; else resolves when it is, or `MAX_SETTLING_MS` after the start. */
  settling(): Promise<void> | undefined
  /** The units of the node are there, and the mesh is being joined. */
  begin(): void
}

export function createOwnNames({ clock, isUntold, changes, joined, settled }: OwnNamesSeams): OwnNames {
  const latch = new Latch()
  const tasks = createTaskGroup(open)

  function open(): void {
    if (latch.isOpen) return
    latch.open()
    settled()
  }

  async function untilTold(signal: AbortSignal): Promise<void> {
    const news = createWake()
    const unsubscribe = changes.subscribe(news.notify)
    signal.addEventListener('abort', news.notify, { once: true })
    try {
      while (!signal.aborted && isUntold()) await news.wait()
    } finally {
      unsubscribe()
    }
  }

  return {
    name: 'own names',
    async start() {
      tasks.run(async (signal) => {
        await clock.sleep(MAX_SETTLING_MS, signal).catch(() => undefined)
        open()
      })
    },
    begin() {
      tasks.run((signal) =>
        withSignal(signal, async (waiting) => {
          await Promise.all([untilTold(waiting), within(clock, MAX_SETTLING_MS, joined())])
          open()
        }),
      )
    },
    async stop() {
      await tasks.stop()
      open()
    },
    settling: () => latch.opening(),
  }
}
