import type { Catalog, Resource } from './catalog.ts'
import { type ClientFeatures, featuresOf, PLAIN } from './client-features.ts'
import { wholeOf } from './facts.ts'
import { type Message, typeUrl } from './fields.ts'
import { RESOURCE_TYPES, type ResourceKind } from './resources.ts'

/** What a session needs of its stream and its server. */
export interface AdsSessionSeams {
  readonly catalog: Catalog
  readonly send: (response: Message<'DiscoveryResponse'>) => void
  /** False while the client has not taken what was sent before; then `sync` is called again later. */
  readonly mayPush: () => boolean
  /** False as long as the world is not known well enough to tell of it; then nothing is sent until `sync`. */
  readonly mayAnswer: () => boolean
  /** The client cannot use what it was sent, and keeps what it had. */
  readonly onRefused: (kind: ResourceKind, client: string, why: string) => void
}

/** The client asks for more than any client needs. */
export class TooMuchError extends Error {
  override readonly name = 'TooMuchError'
}

const KIND_OF_URL: ReadonlyMap<string, ResourceKind> = new Map(
  Object.entries(RESOURCE_TYPES).map(([kind, message]) => [typeUrl(message), kind as ResourceKind]),
)

/** What a response uses comes before what uses it. */
const SEND_ORDER: readonly ResourceKind[] = ['cluster', 'endpoints', 'listener', 'routes']

/** A response of these kinds lists all that the client subscribes to: what it leaves out counts as removed. */
const WHOLE: ReadonlySet<ResourceKind> = new Set(['listener', 'cluster'])

/** Names of one kind that one client may subscribe to. */
const MAX_NAMES = 2_000

/** Longest name; gRPC service names are far shorter. */
const MAX_NAME_CHARS = 512

/** What the client has of one kind. */
interface Subscription {
  names: ReadonlySet<string>
  /** Of the last response; only an answer to that one counts. */
  nonce: string
  /** True when the last response was accepted or refused. */
  answered: boolean
  /** The check of each resource it was sent. */
  readonly sent: Map<string, string>
}

/**
 * One stream of the Aggregated Discovery Service, state of the world. It knows nothing of the transport.
 * Source: https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol
 */
export class AdsSession {
  readonly #seams: AdsSessionSeams
  readonly #incarnation: string
  readonly #subscriptions = new Map<ResourceKind, Subscription>()
  #features: ClientFeatures = PLAIN
  #client = 'unknown'
  #responses = 0

  /** `incarnation` differs from one run of the node to the next, so that clients do not take versions for the same. */
  constructor(seams: AdsSessionSeams, incarnation: string) {
    this.#seams = seams
    this.#incarnation = incarnation
  }

  /** @throws TooMuchError when the stream should be ended */
  receive(request: Message<'DiscoveryRequest'>): void {
    if (request.node !== undefined) this.#meet(request.node)
    const kind = KIND_OF_URL.get(request.type_url ?? '')
    // Kinds we do not serve are answered by nothing, which is what the protocol has for them.
    if (kind === undefined) return
    const known = this.#subscriptions.get(kind)
    const subscription = known ?? { names: new Set(), nonce: '', answered: true, sent: new Map() }
    if (known === undefined) this.#subscriptions.set(kind, subscription)
    if (!this.#isCurrent(kind, subscription, request)) return
    const added = subscribe(subscription, request.resource_names ?? [])
    if (added) this.#respond(kind, subscription, WHOLE.has(kind))
  }

  /** Sends what has changed since it was last sent. */
  sync(): void {
    for (const kind of SEND_ORDER) {
      const subscription = this.#subscriptions.get(kind)
      if (subscription !== undefined) this.#respond(kind, subscription, false)
    }
  }

  /** True when it was sent the endpoints of one of these names. */
  uses(names: ReadonlySet<string>): boolean {
    const { names: subscribed } = this.#subscriptions.get('endpoints') ?? { names: new Set<string>() }
    return [...subscribed].some((name) => names.has(wholeOf(name)))
  }

  /** True when all that was sent of endpoints has been answered and nothing of them is left to be sent. */
  isSettled(): boolean {
    const subscription = this.#subscriptions.get('endpoints')
    if (subscription === undefined) return true
    return subscription.answered && this.#changed('endpoints', subscription).length === 0
  }

  #meet(node: Message<'Node'>): void {
    const { id, user_agent_name: agent, user_agent_version: version } = node
    this.#client = [id, agent, version].filter(Boolean).join(' ')
    this.#features = featuresOf(node)
  }

  /** Takes note of the answer to a response; false when the request is about an earlier one. */
  #isCurrent(kind: ResourceKind, subscription: Subscription, request: Message<'DiscoveryRequest'>): boolean {
    const { response_nonce: nonce = '', error_detail: refusal } = request
    if (nonce === '') return true
    if (nonce !== subscription.nonce) return false
    subscription.answered = true
    if (refusal !== undefined) this.#seams.onRefused(kind, this.#client, refusal.message ?? '')
    return true
  }

  #respond(kind: ResourceKind, subscription: Subscription, always: boolean): void {
    const { catalog, send, mayPush, mayAnswer } = this.#seams
    if (!mayAnswer()) return
    const changed = this.#changed(kind, subscription)
    if (!always && (changed.length === 0 || !mayPush())) return
    for (const { name, check } of changed) subscription.sent.set(name, check)
    const resources = WHOLE.has(kind) ? this.#wanted(kind, subscription) : changed
    this.#responses += 1
    subscription.nonce = String(this.#responses)
    subscription.answered = false
    const url = typeUrl(RESOURCE_TYPES[kind])
    send({
      version_info: `${this.#incarnation}.${catalog.epoch}`,
      type_url: url,
      nonce: subscription.nonce,
      resources: resources.map(({ bytes }) => ({ type_url: url, value: bytes })),
      control_plane: { identifier: 'hsu' },
    })
  }

  #wanted(kind: ResourceKind, { names }: Subscription): readonly Resource[] {
    return [...names].map((name) => this.#seams.catalog.resource(kind, name, this.#features))
  }

  #changed(kind: ResourceKind, subscription: Subscription): readonly Resource[] {
    return this.#wanted(kind, subscription).filter(({ name, check }) => subscription.sent.get(name) !== check)
  }
}

/** Takes over what the client subscribes to; true when it wants something new. */
function subscribe(subscription: Subscription, wanted: readonly string[]): boolean {
  if (wanted.length > MAX_NAMES) throw new TooMuchError(`more than ${MAX_NAMES} names`)
  if (wanted.some(({ length }) => length > MAX_NAME_CHARS)) throw new TooMuchError(`a name of over ${MAX_NAME_CHARS}`)
  const names = new Set(wanted)
  const added = [...names].some((name) => !subscription.names.has(name))
  for (const name of subscription.names) if (!names.has(name)) subscription.sent.delete(name)
  subscription.names = names
  return added
}
