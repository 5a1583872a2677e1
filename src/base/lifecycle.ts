import { setMaxListeners } from 'node:events'

/** Something that is started once and stopped once. */
export interface Service {
  readonly name: string
  start(): Promise<void>
  /** Must work after a failed or partial `start`, and twice. */
  stop(): Promise<void>
}

/** Parts that were begun one after the other and end in reverse. */
export interface ServiceStack {
  /** Starts a part; from now on `stop` stops it, even when its start failed half-way. */
  begin(part: Service): Promise<void>
  /** Stops every part begun, last first, also when some fail to stop. @throws AggregateError naming how many */
  stop(): Promise<void>
}

export function serviceStack(name: string): ServiceStack {
  const begun: Service[] = []
  return {
    async begin(part) {
      begun.push(part)
      await part.start()
    },
    async stop() {
      const failures: unknown[] = []
      for (let part = begun.pop(); part !== undefined; part = begun.pop()) {
        await part.stop().catch((error: unknown) => failures.push(error))
      }
      if (failures.length > 0) throw new AggregateError(failures, `${name}: ${failures.length} part(s) failed to stop`)
    },
  }
}

/** Starts parts in order and stops them in reverse; a part that fails to start takes down those before it. */
export function inOrder(name: string, parts: readonly Service[]): Service {
  const stack = serviceStack(name)
  return {
    name,
    async start() {
      for (const part of parts) {
        await stack.begin(part).catch(async (cause: unknown) => {
          await stack.stop().catch(() => undefined)
          throw cause
        })
      }
    },
    stop: () => stack.stop(),
  }
}

/**
 * A loop as a service: `start` begins it, `stop` aborts its signal and waits for its end.
 * The loop must resolve when its signal aborts.
 */
export function background(name: string, loop: (signal: AbortSignal) => Promise<void>): Service {
  let abort: AbortController | undefined
  let ended: Promise<void> = Promise.resolve()
  return {
    name,
    async start() {
      abort = new AbortController()
      // As many listeners as the loop has under way, which is no leak.
      setMaxListeners(0, abort.signal)
      ended = loop(abort.signal)
    },
    async stop() {
      abort?.abort()
      await ended
    },
  }
}
