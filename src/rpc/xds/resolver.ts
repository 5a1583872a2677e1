/**
 * `hsu:///shop.v1.Orders` for clients of @grpc/grpc-js: calls go straight to units of this host, without the weight of
 * an xDS library. Exported by the package as `hsu/resolver`.
 */
import { readFileSync } from 'node:fs'
import { HsuError } from '../../base/error.ts'
import { backgroundClock } from '../../base/system-clock.ts'
import { systemRandom } from '../../base/system-random.ts'
import { type Assignment, EndpointWatcher } from './endpoint-watcher.ts'
import { HSU_RESOLVER, type Message } from './fields.ts'

/** What the resolver needs of grpc-js, which is the caller's own: 1.14 or later. */
export interface GrpcModule {
  readonly experimental: {
    // grpc-js calls its types experimental and changes them; what is used of them is below.
    registerResolver(scheme: string, resolver: never): void
  }
}

type Outcome<T> =
  | { readonly ok: true; readonly value: T }
  | {
      readonly ok: false
      readonly error: { readonly code: number; readonly details: string; readonly metadata: unknown }
    }

type SubchannelAddress = { readonly host: string; readonly port: number } | { readonly path: string }

type Listener = (
  endpoints: Outcome<readonly { readonly addresses: readonly SubchannelAddress[] }[]>,
  attributes: Readonly<Record<string, unknown>>,
  config: Outcome<unknown> | null,
  note: string,
) => boolean

export interface ResolverOptions {
  /** Where the node and its ingress are told of; `process.env` unless told: `GRPC_XDS_BOOTSTRAP` and `HSU_INGRESS`. */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** How long the node may take to answer before calls go to the ingress, in ms; 1,000 unless told. */
  readonly patienceMs?: number
}

const UNAVAILABLE = 14
const PATIENCE_MS = 1_000

/** As envoy.config.core.v3.HealthStatus has it; what is above is not to be called. */
const HEALTHY = 1

/** Of equal instances each gets calls in turn. */
const ROUND_ROBIN = { loadBalancingConfig: [{ round_robin: {} }], methodConfig: [] }

/**
 * Lets clients of this grpc-js use `hsu:///NAME`, NAME a service or a unit. All channels share one connection to the node.
 *
 * @throws HsuError `NOT_STARTED` when the environment tells neither of a node nor of an ingress
 */
export function registerResolver(grpc: GrpcModule, options: ResolverOptions = {}): void {
  const { env = process.env, patienceMs = PATIENCE_MS } = options
  const ingress = env['HSU_INGRESS'] === undefined ? undefined : addressOf(env['HSU_INGRESS'])
  const bootstrap = readBootstrap(env)
  if (bootstrap === undefined && ingress === undefined) {
    const message = 'GRPC_XDS_BOOTSTRAP and HSU_INGRESS are not set; run it as a unit, or set one of them'
    throw new HsuError('NOT_STARTED', message)
  }
  const watcher = bootstrap && new EndpointWatcher({ clock: backgroundClock, random: systemRandom }, bootstrap)
  grpc.experimental.registerResolver('hsu', resolverClass(watcher, ingress, patienceMs) as never)
}

function resolverClass(
  watcher: EndpointWatcher | undefined,
  ingress: SubchannelAddress | undefined,
  patienceMs: number,
) {
  return class {
    readonly #name: string
    readonly #listener: Listener
    #watching: AbortController | undefined

    constructor(target: { readonly path: string }, listener: Listener) {
      this.#name = target.path
      this.#listener = listener
    }

    updateResolution(): void {
      if (this.#watching !== undefined) return
      const watching = new AbortController()
      this.#watching = watching
      void backgroundClock.sleep(0, watching.signal).then(
        () => this.#begin(watching),
        () => undefined,
      )
    }

    destroy(): void {
      this.#watching?.abort()
      this.#watching = undefined
    }

    #begin({ signal }: AbortController): void {
      let told = false
      const unwatch = watcher?.watch(this.#name, (assignment) => {
        told = true
        this.#offer(bestOf(assignment))
      })
      signal.addEventListener('abort', () => unwatch?.())
      const giveUp = (): void => {
        if (!told) this.#offer(ingress === undefined ? [] : [ingress])
      }
      const wait = backgroundClock.sleep(watcher === undefined ? 0 : patienceMs, signal)
      void wait.then(giveUp, () => undefined)
    }

    #offer(addresses: readonly SubchannelAddress[]): void {
      const config = { ok: true, value: ROUND_ROBIN } as const
      if (addresses.length > 0) {
        const value = addresses.map((address) => ({ addresses: [address] }))
        this.#listener({ ok: true, value }, {}, config, '')
        return
      }
      const details = `hsu: the node does not tell where '${this.#name}' is; see hsu doctor`
      this.#listener({ ok: false, error: { code: UNAVAILABLE, details, metadata: undefined } }, {}, config, details)
    }

    static getDefaultAuthority({ path }: { readonly path: string }): string {
      return path
    }
  }
}

/** The healthy endpoints of the first priority that has any. */
function bestOf({ endpoints = [] }: Assignment): readonly SubchannelAddress[] {
  const levels = new Map<number, SubchannelAddress[]>()
  for (const { priority = 0, lb_endpoints = [] } of endpoints) {
    const healthy = lb_endpoints.filter(({ health_status = 0 }) => health_status <= HEALTHY)
    const addresses = healthy.flatMap(({ endpoint }) => placeOf(endpoint?.address))
    levels.set(priority, [...(levels.get(priority) ?? []), ...addresses])
  }
  const [, best = []] = [...levels].sort(([one], [other]) => one - other).find(([, { length }]) => length > 0) ?? []
  return best
}

function placeOf({ pipe, socket_address }: Message<'Address'> = {}): SubchannelAddress[] {
  if (pipe?.path !== undefined) return [{ path: pipe.path }]
  if (socket_address?.address === undefined) return []
  return [{ host: socket_address.address, port: socket_address.port_value ?? 0 }]
}

function addressOf(text: string): SubchannelAddress {
  const [, host = '127.0.0.1', port] = /^\[?([^\]]*?)\]?:(\d+)$/.exec(text) ?? []
  return { host, port: Number(port) }
}

interface Bootstrap {
  readonly xds_servers?: readonly { readonly server_uri?: string }[]
  readonly node?: Message<'Node'>
}

function readBootstrap(
  env: NonNullable<ResolverOptions['env']>,
): ConstructorParameters<typeof EndpointWatcher>[1] | undefined {
  const { GRPC_XDS_BOOTSTRAP: file, GRPC_XDS_BOOTSTRAP_CONFIG: inline } = env
  const text = file === undefined || file === '' ? inline : read(file)
  if (text === undefined) return undefined
  const { xds_servers, node = {} } = JSON.parse(text) as Bootstrap
  const server = xds_servers?.[0]?.server_uri
  return server === undefined ? undefined : { server, node: { ...node, user_agent_name: HSU_RESOLVER } }
}

/** Undefined when the node that wrote it is gone: then the ingress must do. */
function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}
