import { create, type DescMethod, type Message } from '@bufbuild/protobuf'
import { HsuError } from '../base/error.ts'
import type { Servers } from '../node/index.ts'
import type { CallOptions, Connection, Door, ServiceClient, ServiceImplementation } from '../rpc/index.ts'

/** Who can be called from a node, and how long that takes. */
export interface Calls {
  /** The API of the node of this name or id, of this node itself for undefined. @throws HsuError NODE_UNREACHABLE */
  readonly reach: (node: string | undefined) => Promise<readonly ServiceImplementation[]>
  /** From now on this is the API of this node; undefined: it has none. */
  readonly serve: (services: readonly ServiceImplementation[] | undefined) => void
}

/** Doors without sockets: the control API answers calls of other simulated nodes, the others have an address and no callers. */
export function simServers({ reach, serve }: Calls): Servers {
  return {
    ingress: (_seams, { listen }) => ({ ...door('ingress'), ...noCalls, address: () => listen }),
    link: (_seams, { listen }) => ({ ...door('link'), ...noCalls, address: () => listen, cut: () => undefined }),
    calls: async () => [],
    faults: async () => [],
    watch: () => () => undefined,
    api: (_seams, _config, services) => door('api', (isOpen) => serve(isOpen ? services : undefined)),
    front: () => door('control'),
    admin: (_seams, { listen }) => ({ ...door('admin'), address: () => listen, handle: () => undefined }),
    xds: (_seams, { listen }) => ({
      ...door('xds'),
      address: () => listen,
      handle: () => undefined,
      answer: () => undefined,
      refresh: () => undefined,
      settled: async () => undefined,
      calls: { inFlight: () => 0, total: () => 0, lastCallAtMs: () => undefined },
    }),
    tcp: (_seams, { listen }) => ({ ...door('unit'), address: () => listen, handle: () => undefined }),
    connect: (target) => connectionTo(target, reach),
  }
}

function door(name: string, changed: (isOpen: boolean) => void = () => undefined): Door {
  return {
    name,
    start: async () => changed(true),
    open: async () => undefined,
    retire: async () => undefined,
    stop: async () => changed(false),
  }
}

const noCalls = { handle: () => undefined, inFlight: () => 0, drained: async () => undefined }

function connectionTo(target: string, reach: Calls['reach']): Connection {
  return {
    target,
    client: (service) => {
      const methods = service.methods.map((method) => [method.localName, caller(method, reach)] as const)
      // As in the real client, each function has the type that its method asks for.
      return Object.fromEntries(methods) as ServiceClient<typeof service>
    },
    call() {
      throw new HsuError('UNSUPPORTED', 'the simulated network carries no raw calls')
    },
    close: () => undefined,
  }
}

type Fields = Record<string, unknown>

type Handler = (request: Message, context: unknown) => Promise<Fields>

function caller(method: DescMethod, reach: Calls['reach']) {
  return async (request: Fields, { metadata = {}, signal }: CallOptions = {}): Promise<Message> => {
    if (method.methodKind !== 'unary')
      throw new HsuError('UNSUPPORTED', 'the simulated network carries no streams of calls')
    const services = await reach(metadata['hsu-node'])
    const handlers = services.find(({ name }) => name === method.parent.typeName)?.handlers
    const handler = handlers?.[method.localName] as Handler | undefined
    if (handler === undefined) throw new HsuError('UNSUPPORTED', `${method.name} is not served`)
    const context = { signal: signal ?? new AbortController().signal, metadata: (name: string) => metadata[name] }
    return create(method.output, await handler(create(method.input, request), context))
  }
}
