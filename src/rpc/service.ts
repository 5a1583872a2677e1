import type {
  DescMethodBiDiStreaming,
  DescMethodClientStreaming,
  DescMethodServerStreaming,
  DescMethodUnary,
  DescService,
  MessageInitShape,
  MessageShape,
} from '@bufbuild/protobuf'

/** What a handler may know about its call besides the request. */
export interface CallContext {
  /** Aborted when the caller hangs up, its deadline passes or the server is forced to stop. */
  readonly signal: AbortSignal
  /** The first value of a metadata key the caller sent; undefined when absent or binary. */
  readonly metadata: (name: string) => string | undefined
}

/** The methods of a service as functions of its server. A handler fails by throwing an `HsuError`. */
export type ServiceHandlers<S extends DescService> = {
  readonly [Name in keyof S['method']]: S['method'][Name] extends DescMethodUnary<infer I, infer O>
    ? (request: MessageShape<I>, context: CallContext) => Promise<MessageInitShape<O>>
    : S['method'][Name] extends DescMethodServerStreaming<infer I, infer O>
      ? (request: MessageShape<I>, context: CallContext) => AsyncIterable<MessageInitShape<O>>
      : S['method'][Name] extends DescMethodClientStreaming<infer I, infer O>
        ? (requests: AsyncIterable<MessageShape<I>>, context: CallContext) => Promise<MessageInitShape<O>>
        : S['method'][Name] extends DescMethodBiDiStreaming<infer I, infer O>
          ? (requests: AsyncIterable<MessageShape<I>>, context: CallContext) => AsyncIterable<MessageInitShape<O>>
          : never
}

/** A service together with what answers it, ready to be given to a server. */
export interface ServiceImplementation {
  /** The full name it is served under, such as `hsu.control.v1.ControlService`. */
  readonly name: string
  readonly service: DescService
  readonly handlers: Readonly<Record<string, unknown>>
}

/** Binds handlers to their service. A method without a handler answers `UNSUPPORTED`. */
export function implement<S extends DescService>(
  service: S,
  handlers: Partial<ServiceHandlers<S>>,
): ServiceImplementation {
  return { name: service.typeName, service, handlers }
}
