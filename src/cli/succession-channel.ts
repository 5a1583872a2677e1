import { fstatSync, writeSync } from 'node:fs'
import { HsuError } from '../base/error.ts'
import { BoundedQueue } from '../base/queue.ts'
import type { DoorHandles, FromPredecessor, FromSuccessor, Predecessor } from '../node/index.ts'

/** Tells a new process of a node what it inherits; set only by the process before it. */
export const SUCCESSION_VARIABLE = 'HSU_SUCCESSION'

/** Set by bin/hsu when it stays as the parent: it reads there which process is the node, and how it ended. */
export const LIFELINE_VARIABLE = 'HSU_LIFELINE'
export const LIFELINE_FD = 9

/** An old process gives two answers. */
const MAX_ANSWERS = 8

/** This process as the place where messages of another one come in. */
export interface Channel {
  readonly connected: boolean
  send?(message: unknown, sent: (error: Error | null) => void): void
  on(event: 'message', listener: (message: unknown) => void): unknown
  once(event: 'disconnect', listener: () => void): unknown
  disconnect(): void
}

/**
 * The process whose place this one takes; undefined for a process that was started by a person. Takes the variable away:
 * it is not for children. @throws HsuError USAGE when it is not what the process before this one writes
 */
export function findPredecessor(
  env: Record<string, string | undefined>,
  channel: Channel,
  tellManager: () => Promise<void>,
): Predecessor | undefined {
  const text = env[SUCCESSION_VARIABLE]
  Reflect.deleteProperty(env, SUCCESSION_VARIABLE)
  if (text === undefined || text === '') return undefined
  const { dataDir, handles } = parse(text)
  const gone = new AbortController()
  const answers = new BoundedQueue<FromPredecessor>(MAX_ANSWERS, 'drop-oldest')
  channel.on('message', (message) => void answers.push(message as FromPredecessor))
  const end = (): void => {
    gone.abort()
    answers.close()
  }
  channel.once('disconnect', end)
  if (!channel.connected) end()
  const given = answers[Symbol.asyncIterator]()
  const tell = (message: FromSuccessor): void => {
    // Nobody may be there any more to hear it.
    if (channel.connected) channel.send?.(message, () => undefined)
  }
  return {
    dataDir,
    handles,
    gone: gone.signal,
    tell,
    async given() {
      const answer = await given.next()
      return answer.done === true ? undefined : answer.value
    },
    async serves() {
      await tellManager()
      tell({ kind: 'serving' })
    },
  }
}

function parse(text: string): { readonly dataDir: string; readonly handles: DoorHandles } {
  try {
    const { dataDir, handles } = JSON.parse(text) as { dataDir: string; handles: DoorHandles }
    // A node before this version has none of units.
    const { ingress, link, admin, xds, tcp = [] } = handles as Partial<DoorHandles>
    return { dataDir, handles: { ingress, link, admin, xds, tcp } }
  } catch (cause) {
    throw new HsuError(
      'USAGE',
      `${SUCCESSION_VARIABLE} is set by a node for the process that replaces it, not by people`,
      {
        cause,
      },
    )
  }
}

/** The line to a parent that follows the node from one process to the next. */
export interface Lifeline {
  readonly fd: number
  /** Process `pid` has taken the place of this one. */
  passed(pid: number): void
  /** This process ends; returns with which code: a parent that waits for this very process learns by it that it was replaced. */
  ended(code: number): number
}

/** Exit code of a process that was replaced, known to bin/hsu-init. */
const REPLACED = 120

/** Undefined when nobody follows. Takes the variable away: it is not for children. */
export function findLifeline(env: Record<string, string | undefined>): Lifeline | undefined {
  const given = env[LIFELINE_VARIABLE]
  Reflect.deleteProperty(env, LIFELINE_VARIABLE)
  if (given !== String(LIFELINE_FD) || !isPipe(LIFELINE_FD)) return undefined
  let isReplaced = false
  const tell = (fact: string): void => {
    try {
      writeSync(LIFELINE_FD, `${fact}\n`)
    } catch {
      // The parent is gone: there is nobody to tell.
    }
  }
  return {
    fd: LIFELINE_FD,
    passed(pid) {
      isReplaced = true
      tell(`node ${pid}`)
    },
    ended(code) {
      if (isReplaced) return REPLACED
      tell(`exit ${code}`)
      return code
    },
  }
}

function isPipe(fd: number): boolean {
  try {
    return fstatSync(fd).isFIFO()
  } catch {
    return false
  }
}
