import { setTimeout as pause } from 'node:timers/promises'
import { faultOfEcho, type EchoClient, openEcho } from '../test/support/echo-load.ts'

/** One call as its caller saw it. Times by `performance.now()`. */
export interface Call {
  readonly beganAtMs: number
  readonly endedAtMs: number
  /** In words; undefined when it went well. */
  readonly failure: string | undefined
}

/** Connections to each address; a call takes the next one. */
const CLIENTS_EACH = 4
/** Calls are begun in bursts of what is due, so often. */
const TICK_MS = 5

/** Calls of `echo.v1` at a steady rate, however long each of them takes, through several addresses in turn. */
export class SteadyLoad {
  readonly calls: Call[] = []
  readonly #clients: readonly EchoClient[]
  readonly #perSecond: number
  readonly #underWay = new Set<Promise<void>>()
  readonly #done: Promise<void>

  /** Begins at once; ends by itself after `count` calls. */
  constructor(addresses: readonly string[], perSecond: number, count: number) {
    this.#perSecond = perSecond
    this.#clients = Array.from({ length: CLIENTS_EACH }, () => addresses.map((address) => openEcho(address))).flat()
    this.#done = this.#run(count)
  }

  /** Resolves when all calls have ended. */
  async end(): Promise<void> {
    await this.#done
    await Promise.all(this.#underWay)
    for (const client of this.#clients) client.close()
  }

  async #run(count: number): Promise<void> {
    const beganAtMs = performance.now()
    let begun = 0
    while (begun < count) {
      const due = Math.min(count, Math.floor(((performance.now() - beganAtMs) * this.#perSecond) / 1_000))
      for (; begun < due; begun += 1) this.#call(begun)
      await pause(TICK_MS)
    }
  }

  #call(number: number): void {
    const client = this.#clients[number % this.#clients.length]
    if (client === undefined) return
    const beganAtMs = performance.now()
    const called = faultOfEcho(client, 'hi').then((failure) => {
      this.calls.push({ beganAtMs, endedAtMs: performance.now(), failure })
      this.#underWay.delete(called)
    })
    this.#underWay.add(called)
  }
}
