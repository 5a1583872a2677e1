import { createTopic } from '../../../src/base/topic.ts'
import { create, type MessageInitShape } from '@bufbuild/protobuf'
import { HsuError } from '../../../src/base/error.ts'
import { COMMANDS } from '../../../src/cli/commands.ts'
import type { ControlClient, Unit } from '../../../src/cli/control.ts'
import type { LocalNode } from '../../../src/cli/local-node.ts'
import type { MethodCaller } from '../../../src/cli/method-caller.ts'
import type { Processes } from '../../../src/cli/processes.ts'
import { runCommandLine, type World } from '../../../src/cli/run.ts'
import type { CallOptions } from '../../../src/rpc/index.ts'
import { UnitKind, UnitSchema } from '../../../src/rpc/gen/hsu/control/v1/control_pb.ts'
import { SimClock } from '../../../src/sim/sim-clock.ts'

/** One request that a fake node was asked. */
export interface Asked {
  readonly method: string
  readonly request: unknown
  readonly options: CallOptions
}

/** A node's control API of which a test writes only the methods it needs; the others fail. */
export type FakeClient = {
  readonly [Method in keyof ControlClient]?: (request: never, options: CallOptions) => unknown
}

export interface FakeWorld {
  readonly client?: FakeClient
  readonly local?: Partial<LocalNode>
  readonly caller?: MethodCaller['call']
  readonly processes?: Partial<Processes>
  readonly world?: Partial<World>
}

export interface Outcome {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
  readonly asked: readonly Asked[]
  /** Sockets and addresses that were connected to, and how many of the connections were closed. */
  readonly opened: readonly string[]
  readonly closed: number
}

/** Runs a command line against fakes and says what came out. */
export async function hsu(line: string | readonly string[], fakes: FakeWorld = {}): Promise<Outcome> {
  const out: Uint8Array[] = []
  const asked: Asked[] = []
  const opened: string[] = []
  let stderr = ''
  let closed = 0
  const close = (): void => {
    closed += 1
  }
  const world: World = {
    stdout: async (chunk) => void out.push(Buffer.from(chunk)),
    stderr: (text) => (stderr += typeof text === 'string' ? text : Buffer.from(text).toString()),
    stdin: emptyStdin(),
    env: {},
    cwd: '/work',
    isTty: false,
    isErrorTty: false,
    terminal: () => undefined,
    clock: new SimClock(),
    actor: 'anna (uid 1000) from the command line',
    signal: new AbortController().signal,
    force: new AbortController().signal,
    requests: createTopic(),
    processes: {
      ownPid: 77,
      isAlive: () => false,
      lastLines: () => [],
      detach: unexpected('detach'),
      ...fakes.processes,
    },
    loadLocal: async () => fakeLocal(fakes.local ?? {}),
    async connectControl(socketPath) {
      opened.push(socketPath)
      return { client: fakeClient(fakes.client ?? {}, asked), close }
    },
    async dial(address) {
      opened.push(address)
      return { call: fakes.caller ?? unexpected('call'), close }
    },
    ...fakes.world,
  }
  const argv = typeof line === 'string' ? line.split(' ').filter((word) => word !== '') : line
  const code = await runCommandLine(argv, COMMANDS, world)
  return { code, stdout: Buffer.concat(out).toString(), stderr, asked, opened, closed }
}

async function* emptyStdin(): AsyncGenerator<Uint8Array> {
  yield* []
}

function unexpected(what: string): () => never {
  return () => {
    throw new Error(`unexpected: ${what}`)
  }
}

function fakeLocal(given: Partial<LocalNode>): LocalNode {
  return {
    resolvePaths: (dataDir = '/data') => ({
      dataDir,
      runtimeDir: `${dataDir}/run`,
      logDir: `${dataDir}/log`,
      controlSocket: `${dataDir}/run/control.sock`,
    }),
    run: unexpected('run'),
    describeConfig: unexpected('describeConfig'),
    configSchema: unexpected('configSchema'),
    checkLimits: async () => [{ name: 'limit: memory', result: 'ok', message: 'enforced (cgroup v2)' }],
    createMeshKey: unexpected('createMeshKey'),
    meshKeyFingerprints: unexpected('meshKeyFingerprints'),
    joinByInvite: unexpected('joinByInvite'),
    ...given,
  }
}

function fakeClient(given: FakeClient, asked: Asked[]): ControlClient {
  const method =
    (name: string) =>
    (request: unknown, options: CallOptions): unknown => {
      asked.push({ method: name, request, options })
      const answer = given[name as keyof FakeClient] as
        | ((request: unknown, options: CallOptions) => unknown)
        | undefined
      if (answer === undefined) throw new HsuError('UNSUPPORTED', `the fake node has no ${name}`)
      return answer(request, options)
    }
  // A test answers with what its command reads, not with whole messages. The client itself is awaited: it has no `then`.
  const get = (_target: object, name: string | symbol): unknown => (name === 'then' ? undefined : method(String(name)))
  return new Proxy({}, { get }) as ControlClient
}

/** A unit as the control API gives it; `up` and ready unless a test says otherwise. */
export function unit(init: MessageInitShape<typeof UnitSchema> = {}): Unit {
  return create(UnitSchema, {
    unit: 'echo',
    instance: 'echo-0-3fa2b1',
    node: 'edge-a',
    kind: UnitKind.INTEGRATED,
    state: 'up',
    ready: true,
    pid: 4711,
    ...init,
  })
}

/** Answers `listUnits` as a node named `local` does that is in a mesh with the nodes of `units`. */
export function unitsOf(
  local: string,
  units: readonly Unit[],
  unreachable: string[] = [],
): NonNullable<FakeClient['listUnits']> {
  return async ({ scope, units: wanted }: { scope: number; units: string[] }) => ({
    units: units.filter(
      ({ unit, node }) => (scope === 2 || node === local) && (wanted.length === 0 || wanted.includes(unit)),
    ),
    unreachable: scope === 2 ? unreachable : [],
  })
}

/** A server stream of these items. */
export async function* streamOf<T>(...items: readonly T[]): AsyncGenerator<T> {
  yield* items
}
