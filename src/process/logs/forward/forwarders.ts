import type { Store } from '../../../base/store.ts'
import { createTaskGroup } from '../../../base/task-group.ts'
import type { NewEvent } from '../../causes.ts'
import type { UnitSpec } from '../../launch.ts'
import type { Output } from '../../output.ts'
import { type Destination, destinationOf, POSITIONS, positionKey } from './destination.ts'
import { Forwarder } from './forwarder.ts'
import { Position } from './position.ts'
import { createSenders, type SendersSeams } from './senders.ts'

export interface ForwardersSeams extends SendersSeams {
  readonly store: Store
  readonly output: Pick<Output, 'batches'>
  readonly tell: (event: NewEvent) => void
}

/** All that is forwarded on this node. Units that name the same destination share the way to it. */
export interface Forwarders {
  /** Begins with what is new in these; lines that are read from now on are sent. */
  begin(specs: readonly UnitSpec[]): void
  /** Ends what is not in these any more, in the background. */
  retain(specs: readonly UnitSpec[]): void
  /** Resolves when the last lines are sent, or cannot be. Idempotent. */
  stop(): Promise<void>
}

interface Wanted {
  readonly unit: string
  readonly node: string
  readonly destination: Destination
}

export function createForwarders(seams: ForwardersSeams): Forwarders {
  const { clock, log, store } = seams
  const tasks = createTaskGroup((error) => log.error('forwarding of lines met a fault', { error }))
  const running = new Map<string, AbortController>()
  const senders = createSenders(seams)
  /** For each position, the end of who uses it: with other terms of a destination, the next goes on behind the one before. */
  const ends = new Map<string, Promise<void>>()

  async function forward({ unit, node, destination }: Wanted, sinceMs: number, stop: AbortSignal): Promise<void> {
    const own = { ...seams, log: log.with({ unit, destination: destination.url }) }
    const position = await Position.load(own, positionKey(unit, destination), sinceMs)
    const { sender, giveBack } = senders.lend(destination, node)
    await new Forwarder({ ...own, sender, position }, unit, destination.url).run(stop).finally(giveBack)
  }

  function start(key: string, wanted: Wanted): void {
    const stop = new AbortController()
    running.set(key, stop)
    const position = positionKey(wanted.unit, wanted.destination)
    const before = ends.get(position) ?? Promise.resolve()
    const sinceMs = clock.wallMs()
    tasks.run(async (signal) => {
      const end = (): void => stop.abort()
      signal.addEventListener('abort', end)
      const ended = before.then(() => forward(wanted, sinceMs, stop.signal))
      const quiet = ended.catch(() => undefined)
      ends.set(position, quiet)
      await ended.finally(() => {
        signal.removeEventListener('abort', end)
        if (ends.get(position) === quiet) ends.delete(position)
        if (running.get(key) === stop) running.delete(key)
      })
    })
  }

  /** What is configured anew one day begins with that day. */
  async function forget(wanted: ReadonlySet<string>): Promise<void> {
    for (const key of await store.list(POSITIONS)) {
      if (wanted.has(key)) continue
      await ends.get(key)
      if (!ends.has(key)) await store.delete(key)
    }
  }

  return {
    begin(specs) {
      for (const [key, wanted] of wantedOf(specs)) if (!running.has(key)) start(key, wanted)
    },
    retain(specs) {
      const wanted = wantedOf(specs)
      for (const [key, stop] of running) {
        if (wanted.has(key)) continue
        running.delete(key)
        stop.abort()
      }
      const keys = new Set([...wanted.values()].map(({ unit, destination }) => positionKey(unit, destination)))
      tasks.run(() => forget(keys))
    },
    stop: () => tasks.stop(),
  }
}

function wantedOf(specs: readonly UnitSpec[]): ReadonlyMap<string, Wanted> {
  return new Map(
    specs.flatMap(({ name: unit, config, variables }) =>
      config.logs.forward.map((each) => {
        const destination = destinationOf(each)
        return [`${unit} ${JSON.stringify(destination)}`, { unit, node: variables.nodeName, destination }] as const
      }),
    ),
  )
}
