import type { Clock } from '../../base/clock.ts'
import { messageOf } from '../../base/error.ts'
import type { Service } from '../../base/lifecycle.ts'
import type { Log } from '../../base/log.ts'
import { toRfc3339 } from '../../base/system-date.ts'
import type { CallDoors, EndedCalls } from '../../rpc/index.ts'
import { callLine, type LineContext } from './call-line.ts'
import type { LineFile } from './line-file.ts'

export interface AccessLogSeams {
  readonly clock: Pick<Clock, 'wallMs'>
  readonly log: Log
  readonly watch: CallDoors['watch']
  readonly file: LineFile
}

export interface AccessLogConfig extends LineContext {
  /** Of the calls that end with OK, 0 to 1; all others are logged. */
  readonly sample: number
}

/** Lines that wait to be written; what comes beyond is counted and told. About 10 MB. */
const MAX_WAITING = 20_000

/** Writes a line for each call that ends, away from the path of the calls. */
export function createAccessLog(seams: AccessLogSeams, config: AccessLogConfig): Service {
  return new AccessLog(seams, config)
}

class AccessLog implements Service {
  readonly name = 'access log'
  readonly #seams: AccessLogSeams
  readonly #config: AccessLogConfig
  #end: (() => void) | undefined
  #waiting: string[] = []
  #lost = 0
  #writing: Promise<void> | undefined
  #isFailing = false

  constructor(seams: AccessLogSeams, config: AccessLogConfig) {
    this.#seams = seams
    this.#config = config
  }

  async start(): Promise<void> {
    const interest = { share: this.#config.sample, failed: true, traced: false }
    this.#end = this.#seams.watch(interest, (ended) => this.#take(ended))
  }

  /** Calls that have ended by now are written. */
  async stop(): Promise<void> {
    this.#end?.()
    this.#end = undefined
    await this.#writing
    await this.#seams.file.close()
  }

  #take({ calls, lost }: EndedCalls): void {
    this.#lost += lost
    for (const call of calls) {
      if (this.#waiting.length >= MAX_WAITING) this.#lost += 1
      else this.#waiting.push(`${JSON.stringify(callLine(call, this.#config))}\n`)
    }
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined
    })
  }

  async #write(): Promise<void> {
    const { file, log } = this.#seams
    while (this.#waiting.length > 0 || (this.#lost > 0 && !this.#isFailing)) {
      const lines = this.#waiting
      const lost = this.#lost
      this.#waiting = []
      this.#lost = 0
      try {
        await file.append(`${lost === 0 ? '' : this.#lostLine(lost)}${lines.join('')}`)
        if (this.#isFailing) log.info('calls are logged again', { lost })
        this.#isFailing = false
      } catch (error) {
        if (!this.#isFailing) log.error('the access log cannot be written', { cause: messageOf(error) })
        this.#isFailing = true
        this.#lost += lost + lines.length
      }
    }
  }

  /** Stands where the lines would be. */
  #lostLine(lost: number): string {
    return `${JSON.stringify({ time: toRfc3339(this.#seams.clock.wallMs()), node: this.#config.node, lost })}\n`
  }
}
