import { type Details, HsuError, isReason, messageOf } from '../../base/error.ts'

/** The end of a channel between two threads. */
export interface Port {
  postMessage(message: unknown): void
  on(event: 'message', listener: (message: Message) => void): unknown
}

/** An error as it goes between threads: classes do not. */
interface PlainError {
  readonly reason: string
  readonly message: string
  readonly details: Details
}

export type Message =
  | { readonly kind: 'tell'; readonly what: unknown }
  | { readonly kind: 'ask'; readonly id: number; readonly what: unknown }
  | { readonly kind: 'cancel'; readonly id: number }
  | { readonly kind: 'answer'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'fault'; readonly id: number; readonly error: PlainError }

export interface TalkHandlers {
  /** Answers a question of the other side. `signal` aborts when nobody wants to know any more. */
  readonly onAsk: (what: unknown, signal: AbortSignal) => Promise<unknown>
  readonly onTell: (what: unknown) => void
}

interface Question {
  readonly resolve: (value: unknown) => void
  readonly reject: (error: Error) => void
}

/** Two threads talk: each tells and asks the other, in order. What is said is plain data. */
export class Talk {
  readonly #port: Port
  readonly #handlers: TalkHandlers
  readonly #asked = new Map<number, Question>()
  readonly #answering = new Map<number, AbortController>()
  #lastId = 0
  #closed: Error | undefined

  constructor(port: Port, handlers: TalkHandlers) {
    this.#port = port
    this.#handlers = handlers
    port.on('message', (message) => this.#take(message))
  }

  tell(what: unknown): void {
    this.#port.postMessage({ kind: 'tell', what } satisfies Message)
  }

  /** @throws what the other side throws; the signal's reason; why the other side is gone */
  ask(what: unknown, signal?: AbortSignal): Promise<unknown> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed)
    if (signal?.aborted === true) return Promise.reject(signal.reason as Error)
    const id = (this.#lastId += 1)
    return new Promise((resolve, reject) => {
      const cancel = (): void => {
        this.#asked.delete(id)
        this.#port.postMessage({ kind: 'cancel', id } satisfies Message)
        reject(signal?.reason as Error)
      }
      const done = (): void => signal?.removeEventListener('abort', cancel)
      this.#asked.set(id, {
        resolve(value) {
          done()
          resolve(value)
        },
        reject(error) {
          done()
          reject(error)
        },
      })
      signal?.addEventListener('abort', cancel, { once: true })
      this.#port.postMessage({ kind: 'ask', id, what } satisfies Message)
    })
  }

  /** The other side is gone: nobody answers, and nobody wants answers. */
  close(reason: Error): void {
    this.#closed = reason
    for (const question of this.#asked.values()) question.reject(reason)
    this.#asked.clear()
    for (const stop of this.#answering.values()) stop.abort(reason)
    this.#answering.clear()
  }

  #take(message: Message): void {
    if (message.kind === 'tell') this.#handlers.onTell(message.what)
    else if (message.kind === 'ask') void this.#answer(message.id, message.what)
    else if (message.kind === 'cancel') {
      this.#answering.get(message.id)?.abort(new HsuError('CANCELLED', 'nobody waits for it any more'))
    } else {
      const question = this.#asked.get(message.id)
      this.#asked.delete(message.id)
      if (message.kind === 'answer') question?.resolve(message.value)
      else question?.reject(fromPlain(message.error))
    }
  }

  async #answer(id: number, what: unknown): Promise<void> {
    const stop = new AbortController()
    this.#answering.set(id, stop)
    let answer: Message
    try {
      answer = { kind: 'answer', id, value: await this.#handlers.onAsk(what, stop.signal) }
    } catch (thrown) {
      answer = { kind: 'fault', id, error: toPlain(thrown) }
    }
    this.#answering.delete(id)
    if (this.#closed === undefined) this.#port.postMessage(answer)
  }
}

function toPlain(thrown: unknown): PlainError {
  const { reason, message, details } = HsuError.from(thrown)
  return { reason, message: message || messageOf(thrown), details }
}

function fromPlain({ reason, message, details }: PlainError): HsuError {
  return new HsuError(isReason(reason) ? reason : 'INTERNAL', message, { details })
}
