import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import type { Clock } from '../../base/clock.ts'
import { HsuError, messageOf } from '../../base/error.ts'
import type { Log } from '../../base/log.ts'
import { systemTurn } from '../../base/system-turn.ts'
import type { RouteConfig } from '../config.ts'
import type { WorldFeed } from '../endpoint-source.ts'
import type { Door, DoorHandle } from '../door.ts'
import type { CallRow } from '../router/call-metrics.ts'
import type { EndedCalls } from '../router/call-watch.ts'
import type { CallInterest } from '../router/ended-call.ts'
import type { FaultRow } from '../router/fault-counts.ts'
import type { InFlight } from '../router/in-flight.ts'
import type { Wake } from '../router/waking.ts'
import type { RemoteGuests } from '../call-listener.ts'
import type { DoorName, DoorSetup, DoorState, NodeNews, NodeQuestion, ThreadNews, ThreadQuestion } from './protocol.ts'
import { Talk } from './talk.ts'
import { plainCertificate, type ShownCertificate } from '../link-certificate.ts'
import { WorldDiff } from './world.ts'

/** What a thread needs of its node. */
export interface CallThreadSeams {
  readonly clock: Clock
  readonly log: Log
  readonly feed: WorldFeed
  readonly routeOf: (unit: string) => RouteConfig | undefined
  /** Told of the calls that go through the thread, a moment late. */
  readonly inFlight: InFlight
  readonly guests: RemoteGuests | undefined
  /** Of the ingress: starts units that sleep. */
  readonly wake: Wake | undefined
}

/** A door whose other side is in the thread. */
export interface ThreadDoor extends Door {
  address(): string
  handle(): DoorHandle | undefined
  drained(instance: string, signal: AbortSignal): Promise<void>
  cut(nodeId: string): void
}

/** What a door is told; its certificate may be replaced meanwhile. */
type LiveSetup = Omit<DoorSetup, 'certificate'> & { readonly certificate: ShownCertificate | undefined }

/** A thread that dies is started again, so often in a row and no more. */
const MAX_RESTARTS = 5
const RESTART_MS = 200

/** The program of the thread: beside the bundle that this is part of, or beside this module. Undefined when it is not there. */
export function threadProgram(): URL | undefined {
  return [new URL('./call-thread-main.js', import.meta.url), new URL('./main.js', import.meta.url)].find((url) =>
    existsSync(fileURLToPath(url)),
  )
}

/**
 * For what is short-lived, in three parts. Calls leave nothing behind that lasts, so that more is only memory that is touched: without a
 * bound it grows with each burst, up to 48 MB (measured: no difference in processor time between 3 and 48).
 */
const YOUNG_GENERATION_MB = 12

interface Running {
  readonly worker: Worker
  readonly talk: Talk
  /** Tells the thread at once what has changed of the world. */
  readonly tellWorld: () => void
  /** Ends what feeds it. */
  readonly end: () => void
}

interface OpenDoor {
  readonly setup: LiveSetup
  state: DoorState
  /** Callers are let in. */
  open: boolean
}

/** Doors on an event loop of their own, so that calls do not hold up the node, nor the node calls. */
export class CallThread {
  readonly #program: URL
  readonly #doors = new Map<DoorName, OpenDoor>()
  #seams: CallThreadSeams | undefined
  #running: Running | undefined
  #restarts = 0
  readonly #onEnded: (ended: EndedCalls) => void
  #interest: CallInterest | undefined

  /** `onEnded` is told of the calls that somebody wants to see. */
  constructor(program: URL, onEnded: (ended: EndedCalls) => void) {
    this.#program = program
    this.#onEnded = onEnded
  }

  /** A door that opens in the thread. The seams of all doors of a thread are those of one node. */
  door(name: DoorName, seams: CallThreadSeams, setup: LiveSetup): ThreadDoor {
    const { guests = this.#seams?.guests, wake = this.#seams?.wake } = seams
    this.#seams = { ...this.#seams, ...seams, guests, wake }
    const address = setup.takeover?.handle?.configured === setup.listen ? setup.takeover.handle.address : setup.listen
    let last: DoorState = { address, handle: undefined }
    const state = (): DoorState => this.#doors.get(name)?.state ?? last
    const { certificate } = setup
    const unsubscribe = certificate?.renewed?.subscribe(() => {
      const shown = plainCertificate(certificate)
      this.#running?.talk.tell({ news: 'certificate', certificate: shown } satisfies ThreadNews)
    })
    return {
      name: name === 'ingress' ? 'ingress' : 'link server',
      start: async () => {
        last = await this.#start(name, setup, setup.takeover === undefined)
      },
      open: async () => {
        const door = this.#doors.get(name)
        if (door === undefined) return
        last = (await this.#ask({ do: 'open', door: name })) as DoorState
        this.#doors.set(name, { ...door, state: last, open: true })
      },
      retire: async (graceMs) => {
        if (this.#doors.has(name)) await this.#ask({ do: 'retire', door: name, graceMs })
      },
      stop: async () => {
        unsubscribe?.()
        if (!this.#doors.delete(name)) return
        await this.#ask({ do: 'stop', door: name }).catch(() => undefined)
        if (this.#doors.size === 0) await this.#end()
      },
      address: () => state().address,
      handle: () => state().handle,
      drained: async (instance, signal) => {
        if (this.#running !== undefined) await this.#ask({ do: 'drained', instance }, signal)
      },
      cut: (nodeId) => this.#running?.talk.tell({ news: 'cut', nodeId } satisfies ThreadNews),
    }
  }

  /** What was counted of calls in the thread; nothing while it does not run. */
  async calls(): Promise<readonly CallRow[]> {
    if (this.#running === undefined) return []
    return (await this.#ask({ do: 'count' })) as readonly CallRow[]
  }

  /** What callers of the thread did wrong; nothing while it does not run. */
  async faults(): Promise<readonly FaultRow[]> {
    if (this.#running === undefined) return []
    return (await this.#ask({ do: 'faults' })) as readonly FaultRow[]
  }

  /** Which calls are to be told of from now on. */
  want(interest: CallInterest | undefined): void {
    this.#interest = interest
    this.#running?.talk.tell({ news: 'interest', interest } satisfies ThreadNews)
  }

  async #start(name: DoorName, setup: LiveSetup, open: boolean): Promise<DoorState> {
    this.#run()
    const { certificate } = setup
    const now: DoorSetup = { ...setup, certificate: certificate && plainCertificate(certificate) }
    const state = (await this.#ask({ do: 'start', door: name, setup: now })) as DoorState
    this.#doors.set(name, { setup, state, open })
    return state
  }

  #ask(question: ThreadQuestion, signal?: AbortSignal): Promise<unknown> {
    if (this.#running === undefined) return Promise.reject(new HsuError('INTERNAL', 'the thread of calls does not run'))
    // Whoever withdraws an endpoint and asks whether it is drained means in this order.
    this.#running.tellWorld()
    return this.#running.talk.ask(question, signal)
  }

  #run(): void {
    const seams = this.#seams
    if (this.#running !== undefined || seams === undefined) return
    const worker = new Worker(this.#program, {
      name: 'hsu-calls',
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB },
    })
    const talk = new Talk(worker, {
      onAsk: async (what, signal) => {
        const question = what as NodeQuestion
        if (question.want === 'gift') return seams.guests?.give(question.protocol)
        return this.#seams?.wake?.(question.sleeper, signal) ?? []
      },
      onTell: (what) => {
        const news = what as NodeNews
        if (news.news === 'ended') this.#onEnded(news.ended)
        else hear(news, seams, open)
      },
    })
    const open = new Map<string, number>()
    const diff = new WorldDiff(seams.feed, seams.routeOf)
    let told = false
    const tellWorld = (): void => {
      if (told) return
      told = true
      const change = diff.next()
      if (change !== undefined) talk.tell({ news: 'world', change } satisfies ThreadNews)
    }
    const tellInvites = (): void =>
      talk.tell({ news: 'invites', open: seams.guests?.open() ?? [] } satisfies ThreadNews)
    tellWorld()
    tellInvites()
    if (this.#interest !== undefined) talk.tell({ news: 'interest', interest: this.#interest } satisfies ThreadNews)
    const changed = (): void => {
      if (!told) return
      told = false
      // Many changes come together.
      systemTurn.soon(tellWorld)
    }
    const ends = [seams.feed.onChange(changed), seams.guests?.onChange(tellInvites)]
    const end = (): void => {
      ends.forEach((stop) => stop?.())
      // The calls of a thread end with it.
      for (const [instance, calls] of open) seams.inFlight.add(instance, -calls)
    }
    worker.on('error', (error) => seams.log.error('the thread of calls failed', { cause: messageOf(error) }))
    worker.on('exit', () => this.#exited(worker))
    this.#running = { worker, talk, tellWorld, end }
  }

  /** Nobody asked for that: its calls are lost, and those to come should not be. */
  #exited(worker: Worker): void {
    if (this.#running?.worker !== worker) return
    const { talk, end } = this.#running
    this.#running = undefined
    end()
    talk.close(new HsuError('INTERNAL', 'the thread of calls ended'))
    const { clock, log } = this.#seams ?? {}
    this.#restarts += 1
    if (clock === undefined || log === undefined || this.#doors.size === 0) return
    log.error('the thread of calls ended', { restarts: this.#restarts })
    if (this.#restarts > MAX_RESTARTS) return
    void clock.sleep(RESTART_MS * this.#restarts).then(() => this.#reopen())
  }

  async #reopen(): Promise<void> {
    for (const [name, { setup, state, open }] of this.#doors) {
      const again = { ...setup, listen: state.address, takeover: undefined }
      await this.#start(name, again, open).catch((error: unknown) =>
        this.#seams?.log.error('a door does not open again', { door: name, cause: messageOf(error) }),
      )
    }
  }

  async #end(): Promise<void> {
    const running = this.#running
    this.#running = undefined
    if (running === undefined) return
    running.end()
    running.talk.close(new HsuError('INTERNAL', 'the thread of calls has ended'))
    await running.worker.terminate()
  }
}

/** `open`: calls that have begun in the thread and not ended, by instance. */
function hear(
  news: Exclude<NodeNews, { news: 'ended' }>,
  { inFlight, log, guests }: CallThreadSeams,
  open: Map<string, number>,
): void {
  if (news.news === 'log') log[news.level](news.message, news.fields)
  else if (news.news === 'guest') guests?.ended(news.protocol, news.how, news.from)
  else {
    for (const [instance, began, ended] of news.counts) {
      if (began > 0) inFlight.add(instance, began)
      if (ended > 0) inFlight.add(instance, -ended)
      const left = (open.get(instance) ?? 0) + began - ended
      if (left > 0) open.set(instance, left)
      else open.delete(instance)
    }
  }
}
