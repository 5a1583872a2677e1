import { HsuError, messageOf } from '../base/error.ts'
import type { Log } from '../base/log.ts'
import type { NodeNews } from './node-news.ts'
import { type Replaced, type SpawnSuccessor, swap, type Swapped } from './succession.ts'

export interface UpgradeRequest {
  /** How long calls under way may go on in the old process. */
  readonly drainMs: number
  readonly actor: string
}

/** Puts a new process in the place of this one. */
export interface Upgrade {
  /** Resolves when the new process serves. @throws HsuError why it does not; this process then goes on as before */
  run(request: UpgradeRequest): Promise<Swapped>
  /** Resolves when no swap is under way, with the process that took over, if one did. Never rejects. */
  settled(): Promise<Swapped | undefined>
  /** True from when this process lets go of the node, until it has taken it back. */
  readonly isReplaced: boolean
}

export interface UpgradeSeams {
  readonly log: Log
  readonly news: Pick<NodeNews, 'tell'>
  /** Undefined where there is no program to start anew: a node inside another program. */
  readonly spawn: SpawnSuccessor | undefined
  readonly node: Replaced
  /** Called once another process serves. */
  readonly done: (drainMs: number) => void
  /** Called when the node could not be taken back: somebody else has it. */
  readonly lost: () => void
}

export function createUpgrade(seams: UpgradeSeams): Upgrade {
  const { log, news, node } = seams
  let swapping: Promise<Swapped | undefined> | undefined
  let isReplaced = false

  const letting: Replaced = {
    ...node,
    letGo(pid) {
      isReplaced = true
      return node.letGo(pid)
    },
    async takeBack() {
      try {
        await node.takeBack()
        isReplaced = false
      } catch (error) {
        log.error('the node cannot be taken back from the process that failed to replace it, and ends here', { error })
        seams.lost()
      }
    },
  }

  async function run({ drainMs, actor }: UpgradeRequest, spawn: SpawnSuccessor): Promise<Swapped> {
    try {
      const swapped = await swap(spawn, letting)
      log.info('another process has taken the place of this one', { ...swapped })
      seams.done(drainMs)
      return swapped
    } catch (thrown) {
      const error = HsuError.from(thrown)
      log.error('node not upgraded', { error })
      news.tell('node.upgrade_failed', { reason: messageOf(error), actor })
      throw error
    }
  }

  return {
    get isReplaced() {
      return isReplaced
    },
    settled: () => swapping ?? Promise.resolve(undefined),
    async run(request) {
      const { spawn } = seams
      if (spawn === undefined || process.platform === 'win32') {
        const why = spawn === undefined ? 'a node inside another program' : 'a node on Windows'
        throw new HsuError('UNSUPPORTED', `${why} cannot be replaced as it runs; stop it and start it again`)
      }
      if (swapping !== undefined) throw new HsuError('UPGRADE_FAILED', 'this node is being upgraded already')
      const running = run(request, spawn)
      swapping = running.catch(() => undefined)
      void swapping.then((swapped) => {
        if (swapped === undefined) swapping = undefined
      })
      return running
    },
  }
}
