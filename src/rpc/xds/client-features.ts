import { HSU_RESOLVER, type Message } from './fields.ts'

/** What a client may be told; older or lesser ones get less. */
export interface ClientFeatures {
  /** It connects to unix sockets: our own resolver does, no stock xDS client. */
  readonly pipes: boolean
  /** It asks for routes and clusters: all xDS clients do, our own resolver takes the endpoints of a name and nothing else. */
  readonly routes: boolean
  /** `ring_hash_experimental` with a hash policy on a header (gRFC A42). */
  readonly ringHash: boolean
  /** `least_request_experimental` (gRFC A48). */
  readonly leastRequest: boolean
  /** Ejection by failure percentage (gRFC A50). */
  readonly outlierDetection: boolean
  /** `max_stream_duration` (gRFC A31). */
  readonly timeouts: boolean
}

type Version = readonly number[]

/** From which version on a stack can be told of something; left out: never. */
interface Since {
  readonly ringHash: Version
  readonly leastRequest?: Version
  readonly outlierDetection: Version
  readonly timeouts?: Version
}

/**
 * By how clients introduce themselves. Only what they refuse, crash on or get wrong is gated: fields they do not know are ignored
 * (retries, circuit breakers). Sources:
 * - https://github.com/grpc/grpc/blob/master/doc/grpc_xds_features.md
 * - C-core tells the version of its core: 29 is that of 1.51, whose ring_hash crashes (grpc/grpc#31766, mended by #32012), as its
 *   outlier detection does in 1.50 (grpc/grpc#32967); 31 is the first that is surely behind both.
 * - Go takes least_request without an environment variable from 1.73 on (grpc/grpc-go#8253). Java has it from 1.48 on, but only
 *   with a property set, and refuses the whole cluster without; C-core and Node have none.
 * - C-core 56 (grpcio 1.84) and 29 end calls 1 to 1.8 s before their max_stream_duration on machines whose cycle counter is off;
 *   measured, with deadlines of the caller right in the same process. A short timeout would fail all calls there.
 */
// biome-ignore format: a table reads by column
const STACKS: readonly (readonly [agent: string, since: Since])[] = [
  ['gRPC Go',     { ringHash: [1, 41],    leastRequest: [1, 73], outlierDetection: [1, 50], timeouts: [1, 37] }],
  ['gRPC C-core', { ringHash: [31],                              outlierDetection: [31] }],
  ['gRPC Node',   { ringHash: [1, 10],                           outlierDetection: [1, 7],  timeouts: [1, 4] }],
  ['gRPC Java',   { ringHash: [1, 40, 1],                        outlierDetection: [1, 49], timeouts: [1, 37, 1] }],
]

/** What every xDS client understands. */
export const PLAIN: ClientFeatures = {
  pipes: false,
  routes: true,
  ringHash: false,
  leastRequest: false,
  outlierDetection: false,
  timeouts: false,
}

const RESOLVER: ClientFeatures = { ...PLAIN, pipes: true, routes: false }

/** What a client may be told, by the name and version it gives. One that is not known gets what all understand. */
export function featuresOf({ user_agent_name: agent = '', user_agent_version = '' }: Message<'Node'>): ClientFeatures {
  if (agent === HSU_RESOLVER) return RESOLVER
  const [, since] = STACKS.find(([name]) => agent.startsWith(name)) ?? []
  if (since === undefined) return PLAIN
  const version = versionOf(user_agent_version)
  const has = (first: Version | undefined): boolean => first !== undefined && isAtLeast(version, first)
  return {
    ...PLAIN,
    ringHash: has(since.ringHash),
    leastRequest: has(since.leastRequest),
    outlierDetection: has(since.outlierDetection),
    timeouts: has(since.timeouts),
  }
}

/** Equal for equal features. */
export function featuresKey(features: ClientFeatures): string {
  const { pipes, routes, ringHash, leastRequest, outlierDetection, timeouts } = features
  return [pipes, routes, ringHash, leastRequest, outlierDetection, timeouts].map(Number).join('')
}

/** The first number with dots in a text: `C-core 56.0.0` is 56.0.0; empty, and so below all others, when there is none. */
function versionOf(text: string): Version {
  return (/\d+(?:\.\d+)*/.exec(text)?.[0] ?? '').split('.').filter(Boolean).map(Number)
}

function isAtLeast(version: Version, first: Version): boolean {
  for (const [at, wanted] of first.entries()) {
    const part = version[at] ?? -1
    if (part !== wanted) return part > wanted
  }
  return true
}
