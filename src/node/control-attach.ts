import type { MessageInitShape } from '@bufbuild/protobuf'
import { HsuError } from '../base/error.ts'
import { type FindConfig, type SightedProcess, unitShape, userNamed } from '../process/index.ts'
import type {
  AdoptUnitRequest,
  AttachUnitRequest,
  CallContext,
  DetachUnitRequest,
  Find,
  FindProcessRequest,
  ProcessSchema,
} from '../rpc/index.ts'
import { askerOf } from './actor.ts'
import { adoptionOf } from './config/index.ts'
import { unitsOf } from './control-units.ts'
import type { NodeCore } from './node-core.ts'
import { toTimestamp } from './to-proto.ts'

/** What the control API does about processes that run already. */
export function attachHandlers(core: NodeCore) {
  const { supervisor, attachments } = core
  return {
    async findProcess({ find, exceptPids }: FindProcessRequest, { signal }: CallContext) {
      const look = await supervisor.lookFor(toFind(find), { baseDir: '/', notPids: exceptPids }, signal)
      return { method: look.method, processes: await Promise.all(look.processes.map(toProcess)) }
    },
    async attachUnit({ unit, find, allowSignal, exceptPids }: AttachUnitRequest, context: CallContext) {
      core.refuseWhenStopping()
      const attachment = { unit, find: toFind(find), allowSignal }
      await attachments.attach(attachment, exceptPids, askerOf(context), context.signal)
      return { instances: unitsOf(core, unit) }
    },
    async detachUnit({ unit }: DetachUnitRequest, context: CallContext) {
      await attachments.detach(unit, askerOf(context))
      return {}
    },
    async adoptUnit({ unit }: AdoptUnitRequest) {
      return adoptionOf(unit, await supervisor.portrayUnit(unit))
    },
  }
}

/** As the configuration would have it, with the same rules. @throws HsuError `USAGE` */
function toFind(find: Find | undefined): FindConfig {
  const { case: way, value } = find?.way ?? {}
  const key = way === 'pidFile' ? 'pid_file' : way
  const args = find?.args ?? []
  if (args.length > 0 && key !== 'name') throw new HsuError('USAGE', 'args go with name only')
  const raw = { ...(key === undefined ? {} : { [key]: value }), ...(args.length > 0 ? { args } : {}) }
  const parsed = unitShape.find.unwrap().safeParse(raw)
  if (parsed.success) return parsed.data
  const fault = parsed.error.issues.map(({ path, message }) => [...path, message].join(' ')).join('; ')
  throw new HsuError('USAGE', `how to find the process: ${fault}`)
}

async function toProcess(sighted: SightedProcess): Promise<MessageInitShape<typeof ProcessSchema>> {
  const { identity, argv, startedAtMs, uid, rssBytes, tree, listeners } = sighted
  return {
    pid: identity.pid,
    startTime: identity.startTime,
    bootId: identity.bootId,
    ...(startedAtMs === undefined ? {} : { startedAt: toTimestamp(startedAtMs) }),
    user: uid === undefined ? '' : await userNamed(uid),
    args: [...argv],
    cpu: tree.cpu,
    rssBytes: BigInt(rssBytes),
    treeRssBytes: BigInt(tree.rssBytes),
    processes: tree.processes,
    listens: [...listeners],
  }
}
