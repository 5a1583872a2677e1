import type { UnitConfig } from './config.ts'
import { ownsListener } from './listeners.ts'
import type { Probe, ProbePolicy } from './probe.ts'
import { ladderProbe } from './probes/grpc.ts'
import { type AskedProbe, createProbe, hasKind, type ProbeContext, type ProbeSeams } from './probes/index.ts'
import type { ProcessTable } from './process-table.ts'

/** For integrated units without a ready probe. As the defaults of the configuration. */
const LADDER_POLICY: ProbePolicy = { delayMs: 0, intervalMs: 5_000, timeoutMs: 1_000, passAfter: 1, failAfter: 3 }

/** Whose health is asked for. */
export interface QuestionSubject extends ProbeContext {
  readonly kind: UnitConfig['kind']
  readonly probes: UnitConfig['probes']
  /** The gRPC port of an integrated unit, which must belong to its own processes. */
  readonly grpcPort: number | undefined
  /** The ports assigned to it, which must belong to its own processes; absent = nobody assigned it any. */
  readonly ownPorts?: readonly number[]
  /** The root of its processes. */
  readonly rootPid: number
}

export type Question = { readonly probe: Probe; readonly policy: ProbePolicy }

/** What an instance is asked in each role of a probe; undefined where nothing is to be asked. */
export interface Questions {
  readonly start: Question | undefined
  readonly ready: Question | undefined
  readonly live: Question | undefined
}

/** @throws HsuError `CONFIG_INVALID` when a probe makes no sense with its templates filled in */
export function questionsOf(subject: QuestionSubject, seams: ProbeSeams): Questions {
  const { start, live } = subject.probes
  return {
    start: start.enabled && hasKind(start) ? questionOf(start, subject, seams) : undefined,
    ready: readiness(subject, seams),
    live: live?.enabled === true ? createProbe(live, subject, seams) : undefined,
  }
}

function readiness(subject: QuestionSubject, seams: ProbeSeams): Question | undefined {
  const { ready } = subject.probes
  if (ready?.enabled === true) return questionOf(ready, subject, seams)
  if (ready !== undefined || subject.kind !== 'integrated' || subject.grpcAddress === undefined) return undefined
  const { rootPid, grpcPort, grpcAddress } = subject
  const ladder = ladderProbe(seams.grpc, grpcAddress)
  return {
    probe: ownedBy(rootPid, grpcPort, ladder, seams.table, 'probes: { ready: { grpc: "", owner: any } }'),
    policy: LADDER_POLICY,
  }
}

function questionOf(config: AskedProbe, subject: QuestionSubject, seams: ProbeSeams): Question {
  const { probe, policy } = createProbe(config, subject, seams)
  const port = config.owner === 'any' ? undefined : ownPortAsked(config, subject)
  return { probe: ownedBy(subject.rootPid, port, probe, seams.table, 'owner: any'), policy }
}

/** The port of the unit's own that a probe asks; undefined when it asks none. */
function ownPortAsked({ grpc, tcp }: AskedProbe, subject: QuestionSubject): number | undefined {
  const address = tcp === undefined ? '' : subject.expand(tcp)
  const local = /^(?:(?:127\.0\.0\.1|localhost|\[::1\]):)?(\d+)$/.exec(address)
  const asked = grpc === undefined ? Number(local?.[1]) : subject.grpcPort
  return subject.ownPorts?.find((port) => port === asked)
}

/**
 * Another process may answer on the port (SO_REUSEPORT, or one that was there first); then the answer proves nothing.
 * `allowed` is what to write where that is as it should be: the published port of a container belongs to its proxy.
 */
function ownedBy(rootPid: number, port: number | undefined, probe: Probe, table: ProcessTable, allowed: string): Probe {
  let proved = port === undefined
  return async (signal) => {
    if (!(await probe(signal))) return false
    if (proved || port === undefined) return true
    const owned = await ownsListener(table, rootPid, port)
    if (owned === false) {
      const advice = `if that is meant, as for a container's port, set ${allowed}`
      throw new Error(`port ${port} is answered by a process that is not of this unit; ${advice}`)
    }
    proved = true
    return true
  }
}
