import type { HsuError } from '../../base/error.ts'
import type { Field } from '../h2/field.ts'
import type { FieldList } from '../h2/field-list.ts'
import {
  afterStatus,
  attemptSent,
  FIRST_ATTEMPT,
  type HedgeState,
  type HedgeStep,
  type HedgeTerms,
  mayHedge,
} from '../router/hedging.ts'
import type { Miss, Target } from '../target.ts'
import { Call, type CallDelivery, type Race } from './call.ts'
import type { CallTimers } from './call-timers.ts'
import { answerShape, passableFields, pushbackOf } from './response-fields.ts'

/** What attempts of a call need of its delivery. */
export interface HedgeSeams {
  readonly timers: CallTimers
  /** Of all attempts but the first. */
  readonly delivery: CallDelivery
  /** The call waits for no place any more. */
  readonly forget: (call: Call) => void
  /** Another instance for the call; undefined when there is none, or no budget for it. */
  readonly another: (call: Call) => Target | undefined
  /** Sends an attempt of the call to its target. */
  readonly send: (call: Call, attempt: Call, target: Target) => void
}

/** The gRPC status of an attempt whose connection was lost. */
const UNAVAILABLE = 14

/**
 * The attempts of one call that run at the same time. The first is the call itself; each other is a call without a caller,
 * which gets the request as it was kept. The first answer wins: its stream becomes that of the call.
 */
export class Hedge implements Race {
  readonly #seams: HedgeSeams
  readonly #terms: HedgeTerms
  readonly #call: Call
  readonly #others = new Set<Call>()
  #state: HedgeState = FIRST_ATTEMPT
  /** What a unit said whose status is not fatal: the answer when nobody has a better one. */
  #spare: { readonly fields: readonly Field[]; readonly status: number | undefined } | undefined

  constructor(seams: HedgeSeams, terms: HedgeTerms, call: Call) {
    this.#seams = seams
    this.#terms = terms
    this.#call = call
  }

  begin(): void {
    this.#call.plain = false
    this.#call.race = this
    this.#after(this.#terms.delayMs)
  }

  answered(attempt: Call, list: FieldList, end: boolean): boolean {
    if (!end) return this.#won(attempt, () => this.#call.onResponse(list, end))
    const { grpcStatus } = answerShape(list)
    const { state, step } = afterStatus(this.#openState(), this.#terms, grpcStatus, pushbackOf(list))
    this.#state = state
    if (step.do === 'answer') return this.#won(attempt, () => this.#call.onResponse(list, end))
    const fields: Field[] = []
    passableFields(list, true, fields)
    this.#spare = { fields: fields.map((field) => field.own()), status: grpcStatus }
    attempt.delivery.ended(attempt, grpcStatus)
    attempt.far.ended = true
    this.#drop(attempt)
    this.#follow(step)
    return false
  }

  reset(attempt: Call, code: number): boolean {
    return this.#won(attempt, () => this.#call.onReset(this.#call.far, code))
  }

  missed(attempt: Call, miss: Miss): boolean {
    if (miss.kind === 'failed') {
      const { state, step } = afterStatus(this.#openState(), this.#terms, UNAVAILABLE, undefined)
      this.#state = state
      this.#drop(attempt)
      if (step.do === 'answer') this.#giveUp(miss.error)
      else this.#follow(step)
      return true
    }
    // No unit has seen it: it is as if it had not been sent.
    const { running } = this.#state
    if (running > 1) {
      this.#state = { ...this.#state, running: running - 1 }
      this.#drop(attempt)
      return true
    }
    if (attempt === this.#call) return false
    this.#drop(attempt)
    this.#call.delivery.missed(this.#call, miss)
    return true
  }

  end(): void {
    this.#seams.timers.stop(this.#call, 'hedge')
    this.#call.race = undefined
    const others = [...this.#others]
    this.#others.clear()
    for (const other of others) {
      other.race = undefined
      other.cancel()
    }
  }

  /** True when the call itself goes on with its own stream; else `goOn` with that of the attempt. */
  #won(attempt: Call, goOn: () => void): boolean {
    if (attempt === this.#call) {
      this.end()
      return true
    }
    // What the call had is cancelled with the other attempts.
    this.#seams.forget(this.#call)
    this.#call.exchange(attempt)
    this.end()
    goOn()
    return false
  }

  /** No further attempt is sent once the request is not whole: it is still coming, or too much to be kept. */
  #openState(): HedgeState {
    const { near, kept } = this.#call
    return near.ended && kept.whole ? this.#state : { ...this.#state, closed: true }
  }

  #follow(step: HedgeStep): void {
    if (step.do === 'send') this.#after(step.afterMs)
  }

  #after(ms: number): void {
    this.#seams.timers.start(this.#call, 'hedge', ms, () => this.#more())
  }

  #more(): void {
    const call = this.#call
    if (call.over || call.race !== this) return
    const state = this.#openState()
    const parts = mayHedge(state, this.#terms) ? call.kept.parts(call.delivery.kept) : undefined
    const target = parts === undefined ? undefined : this.#seams.another(call)
    if (parts === undefined || target === undefined) {
      this.#state = { ...state, closed: true }
      if (state.running === 0) this.#giveUp(call.delivery.refusal(call))
      return
    }
    this.#state = attemptSent(state)
    const attempt = new Call()
    attempt.race = this
    this.#others.add(attempt)
    attempt.follow(call, this.#seams.delivery, parts)
    if (mayHedge(this.#state, this.#terms)) this.#after(this.#terms.delayMs)
    this.#seams.send(call, attempt, target)
  }

  #drop(attempt: Call): void {
    if (attempt === this.#call) {
      attempt.leaveUnfinished()
      return
    }
    this.#others.delete(attempt)
    attempt.race = undefined
    attempt.cancel()
  }

  #giveUp(error: HsuError): void {
    this.end()
    const spare = this.#spare
    if (spare === undefined) this.#call.fail(error)
    else this.#call.answerSpare(spare.fields, spare.status)
  }
}
