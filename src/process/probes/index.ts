import { resolve } from 'node:path'
import { HsuError } from '../../base/error.ts'
import type { ProbeConfig } from '../config.ts'
import type { ProcessIdentity } from '../identity.ts'
import type { Probe, ProbePolicy } from '../probe.ts'
import type { ProcessTable } from '../process-table.ts'
import type { RunCommand } from '../run-command.ts'
import { execProbe } from './exec.ts'
import { fileProbe } from './file.ts'
import { type GrpcProber, grpcProbe } from './grpc.ts'
import { httpProbe } from './http.ts'
import { type HasLogged, logProbe } from './log.ts'
import { processProbe } from './process.ts'
import { tcpProbe } from './tcp.ts'

/** The ways to ask that lead out of the node by sockets and files. */
export interface ProbeReach {
  readonly tcp: typeof tcpProbe
  readonly http: typeof httpProbe
  readonly file: typeof fileProbe
}

const SYSTEM: ProbeReach = { tcp: tcpProbe, http: httpProbe, file: fileProbe }

export interface ProbeSeams {
  readonly table: ProcessTable
  readonly run: RunCommand
  readonly grpc: GrpcProber
  /** Default: sockets and files of this system. */
  readonly reach?: ProbeReach | undefined
}

/** The instance that is asked. */
export interface ProbeContext {
  readonly identity: ProcessIdentity
  /** Fills in templates such as `{port.http}`. */
  expand(text: string): string
  /** `host:port` of the unit's gRPC server; undefined when it has no port. */
  readonly grpcAddress: string | undefined
  /** An exec probe runs where the unit runs, with its environment and as its user; undefined = as the node. */
  readonly cwd: string
  readonly env: Readonly<Record<string, string>>
  readonly user: string | undefined
  /** Absent for a unit whose output is not ours. */
  readonly hasLogged?: HasLogged
}

/** A probe of any of the three roles; one that begins a start has no number of bad answers that ends it. */
export type AskedProbe = Omit<ProbeConfig, 'fail'> & { readonly fail?: number | undefined }

/** Whether there is anything to ask. */
export function hasKind({ process, tcp, http, exec, grpc, log, file }: AskedProbe): boolean {
  return [process, tcp, http, exec, grpc, log, file].some((kind) => kind !== undefined)
}

/**
 * The probe that `config` describes, for one instance. Whoever calls leaves out one that is not `enabled`.
 * @throws HsuError `CONFIG_INVALID` when, with the templates filled in, it makes no sense
 */
export function createProbe(
  config: AskedProbe,
  context: ProbeContext,
  seams: ProbeSeams,
): { readonly probe: Probe; readonly policy: ProbePolicy } {
  return { probe: probeOf(config, context, seams), policy: policyOf(config) }
}

function probeOf(config: AskedProbe, context: ProbeContext, { table, run, grpc, reach = SYSTEM }: ProbeSeams): Probe {
  const { tcp, http, exec, log, file } = config
  const path = (text: string): string => resolve(context.cwd, context.expand(text))
  if (tcp !== undefined) return reach.tcp(context.expand(tcp))
  if (http !== undefined) {
    const socket = http.socket === undefined ? undefined : path(http.socket)
    return reach.http({ ...http, url: context.expand(http.url), socket })
  }
  if (file !== undefined) return reach.file(path(file))
  if (log !== undefined) return logProbeOf(context, log)
  if (exec !== undefined) {
    const argv = exec.map((word) => context.expand(word))
    return execProbe(run, argv, { cwd: context.cwd, env: context.env, user: context.user })
  }
  if (config.grpc === undefined) return processProbe(table, context.identity)
  if (context.grpcAddress !== undefined) return grpcProbe(grpc, context.grpcAddress, config.grpc)
  throw new HsuError(
    'CONFIG_INVALID',
    'grpc probe: the unit has no port to ask; give it one, such as ports: { grpc: auto }',
  )
}

function logProbeOf(context: ProbeContext, source: string): Probe {
  const { hasLogged } = context
  if (hasLogged !== undefined) return logProbe(hasLogged, new RegExp(context.expand(source), 'u'))
  throw new HsuError('CONFIG_INVALID', 'log probe: the output of an unmanaged unit is not read; use another kind')
}

function policyOf({ delay, every, timeout, ok, fail = Infinity }: AskedProbe): ProbePolicy {
  return { delayMs: delay, intervalMs: every, timeoutMs: timeout, passAfter: ok, failAfter: fail }
}
