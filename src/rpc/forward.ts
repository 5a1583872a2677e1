import { constants, type ServerHttp2Stream } from 'node:http2'
import { type Clock, TIMED_OUT, within } from '../base/clock.ts'
import { HsuError, messageOf } from '../base/error.ts'
import { exchange } from './exchange.ts'
import { Answer } from './answer.ts'
import { formatTimeout, parseTimeoutMs } from './grpc-answer.ts'
import { firstField, type HeaderBlock, ROUTING_FIELDS, toOutgoing } from './header-fields.ts'
import { RequestBody } from './request-body.ts'
import type { InFlight } from './router/in-flight.ts'
import type { Miss, Target, Targets } from './target.ts'
import type { Upstreams } from './upstreams.ts'
import type { Slot, UpstreamStream } from './upstream-session.ts'

/** What forwarding a call needs of its surroundings. */
export interface ForwardSeams {
  readonly clock: Clock
  readonly upstreams: Upstreams
  readonly inFlight: InFlight
  /**
   * What the caller gets for a call that certainly reached no unit: an answer in words, or REFUSED_STREAM,
   * by which another node knows that it may try elsewhere.
   */
  readonly whenUnreached: 'answer' | 'refuse'
}

/** A deadline goes out as the caller wrote it while no more of it than this has passed. */
const UNTOLD_WAIT_MS = 10

/** A call that has arrived: its stream, its header block, and whether that is all of the request. */
export interface IncomingCall {
  readonly stream: ServerHttp2Stream
  readonly head: HeaderBlock
  readonly headOnly: boolean
}

/**
 * Forwards one call, opaque from its first to its last byte, to the first target that takes it.
 * Resolves when no upstream has anything to do with it any more; never rejects.
 */
export async function forward(call: IncomingCall, route: () => Targets, seams: ForwardSeams): Promise<void> {
  const { stream, head, headOnly } = call
  const body = new RequestBody(stream, headOnly)
  const gone = new AbortController()
  const attempt: AttemptContext = {
    ...seams,
    head,
    body,
    answer: new Answer(stream, body, seams.clock, isGrpc(head)),
    gone: gone.signal,
    calledAtMs: seams.clock.nowMs(),
    deadlineAtMs: deadlineOf(head, seams.clock),
  }
  const hungUp = (): void => gone.abort(new HsuError('CANCELLED', 'the caller hung up'))
  stream.on('aborted', hungUp)
  stream.on('close', hungUp)
  if (stream.closed || stream.destroyed) return
  try {
    const missed = await deliver(attempt, route())
    if (missed !== undefined) unreached(attempt, missed.error)
  } catch (thrown) {
    const error = HsuError.from(thrown)
    if (error.reason === 'NO_ENDPOINT') unreached(attempt, error)
    else attempt.answer.fail(error)
  }
}

/** All that the attempts of one call share. */
interface AttemptContext extends ForwardSeams {
  readonly head: HeaderBlock
  readonly body: RequestBody
  readonly answer: Answer
  /** Aborts when the caller's stream is closed. */
  readonly gone: AbortSignal
  /** When the call came, by the clock's `nowMs`. */
  readonly calledAtMs: number
  /** By the clock's `nowMs`; undefined when the caller set no deadline. */
  readonly deadlineAtMs: number | undefined
}

/** Tries one target after the other. Undefined when the call was taken, or its caller is gone. */
async function deliver(context: AttemptContext, targets: Targets): Promise<Miss | undefined> {
  let missed: Miss | undefined
  for (;;) {
    const target = await beforeDeadline(context, targets.next(missed, context.gone))
    if (target === undefined || isGone(context)) return missed
    missed = await attempt(context, target)
    if (missed === undefined || isGone(context) || !context.body.replayable) return missed
  }
}

/** A function, because it changes between two looks. */
function isGone({ gone }: AttemptContext): boolean {
  return gone.aborted
}

async function attempt(context: AttemptContext, target: Target): Promise<Miss | undefined> {
  const { body, gone, inFlight } = context
  const end = target.instance === undefined ? undefined : inFlight.begin(target.instance)
  try {
    const slot = await acquire(context, target)
    if (!isSlot(slot)) return slot
    if (gone.aborted) {
      slot.release()
      return undefined
    }
    const upstream = open(context, target, slot)
    if (!isUpstream(upstream)) return upstream
    const reached = await exchange(upstream, body, context.answer, {
      gone,
      clock: context.clock,
      ...limitOf(context, target),
    })
    return reached ? undefined : { kind: 'refused', error: refusal(target) }
  } finally {
    body.detach()
    end?.()
  }
}

async function acquire(context: AttemptContext, target: Target): Promise<Slot | Miss> {
  let acquiring: Slot | Promise<Slot> | undefined
  try {
    acquiring = context.upstreams.acquire(target, context.gone)
    return await beforeDeadline(context, acquiring)
  } catch (thrown) {
    // A place that comes when nobody waits for it any more is given back.
    if (acquiring instanceof Promise) void acquiring.then((slot) => slot.release()).catch(() => undefined)
    const error = HsuError.from(thrown)
    if (error.reason === 'TIMED_OUT' || context.gone.aborted) throw error
    return { kind: 'unreachable', error }
  }
}

function open(context: AttemptContext, target: Target, slot: Slot): UpstreamStream | Miss {
  const { head, body } = context
  const headers = { ...toOutgoing(head, 'request', ROUTING_FIELDS), ...target.add }
  const timeoutMs = limitOf(context, target).timeoutMs ?? timeLeft(context)
  if (timeoutMs !== undefined) headers['grpc-timeout'] = formatTimeout(timeoutMs)
  try {
    return slot.open(headers, body.empty)
  } catch (cause) {
    slot.release()
    const message = `cannot send the call to ${target.label}: ${messageOf(cause)}`
    return { kind: 'refused', error: new HsuError('NO_ENDPOINT', message, { cause }) }
  }
}

/** The timeout of the route, which counts only when the caller set no deadline. */
function limitOf({ head }: Pick<AttemptContext, 'head'>, { timeoutMs }: Target): { timeoutMs: number | undefined } {
  return { timeoutMs: firstField(head.fields, 'grpc-timeout') === undefined ? timeoutMs : undefined }
}

/** What waiting and earlier attempts have left of the caller's deadline; undefined when that is all of it, or no limit. */
function timeLeft({ clock, calledAtMs, deadlineAtMs }: AttemptContext): number | undefined {
  const nowMs = clock.nowMs()
  if (deadlineAtMs === undefined || nowMs - calledAtMs <= UNTOLD_WAIT_MS) return undefined
  return deadlineAtMs - nowMs
}

/** Waits no longer than the caller does. What is at hand costs no timer. @throws HsuError `TIMED_OUT` */
async function beforeDeadline<T>({ clock, deadlineAtMs }: AttemptContext, task: T | Promise<T>): Promise<T> {
  if (deadlineAtMs === undefined || !(task instanceof Promise)) return task
  const result = await within(clock, Math.max(0, deadlineAtMs - clock.nowMs()), task)
  if (result !== TIMED_OUT) return result
  throw new HsuError('TIMED_OUT', 'the deadline passed before the call could be sent to a unit')
}

function deadlineOf({ fields }: HeaderBlock, clock: Clock): number | undefined {
  const timeoutMs = parseTimeoutMs(firstField(fields, 'grpc-timeout') ?? '')
  return timeoutMs === undefined ? undefined : clock.nowMs() + timeoutMs
}

function unreached({ whenUnreached, answer }: AttemptContext, error: HsuError): void {
  if (whenUnreached === 'refuse') answer.reset(constants.NGHTTP2_REFUSED_STREAM)
  else answer.fail(error)
}

function isGrpc({ fields }: HeaderBlock): boolean {
  return firstField(fields, 'content-type')?.startsWith('application/grpc') === true
}

function refusal({ label, instance }: Target): HsuError {
  return new HsuError('NO_ENDPOINT', `${label} did not take the call`, {
    details: instance === undefined ? {} : { instance },
  })
}

function isSlot(result: Slot | Miss): result is Slot {
  return 'release' in result
}

function isUpstream(result: UpstreamStream | Miss): result is UpstreamStream {
  return 'stream' in result
}
