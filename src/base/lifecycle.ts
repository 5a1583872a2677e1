/** Something that is started once and stopped once. */
export interface Service {
  readonly name: string
  start(): Promise<void>
  /** Must work after a failed or partial `start`, and twice. */
  stop(): Promise<void>
}

/** Starts parts in order and stops them in reverse; a part that fails to start takes down those before it. */
export function inOrder(name: string, parts: readonly Service[]): Service {
  const begun: Service[] = []

  async function stop(): Promise<void> {
    const failures: unknown[] = []
    for (let part = begun.pop(); part !== undefined; part = begun.pop()) {
      await part.stop().catch((error: unknown) => failures.push(error))
    }
    if (failures.length > 0) throw new AggregateError(failures, `${name}: ${failures.length} part(s) failed to stop`)
  }

  async function start(): Promise<void> {
    for (const part of parts) {
      begun.push(part)
      await part.start().catch(async (cause: unknown) => {
        await stop().catch(() => undefined)
        throw cause
      })
    }
  }

  return { name, start, stop }
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
      ended = loop(abort.signal)
    },
    async stop() {
      abort?.abort()
      await ended
    },
  }
}
