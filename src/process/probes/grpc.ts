import type { Probe } from '../probe.ts'

/** Asks over gRPC; the real one is in src/rpc. */
export interface GrpcProber {
  /**
   * `what`: `ladder` (the first that the unit offers of hsu.unit.v1, grpc.health.v1 and proto.CoreService/Ping; a
   * connection is enough when it offers none), '' or the name of a service for grpc.health.v1, or `/pkg.Service/Method`
   * for any unary method. A throw says why the answer is no.
   */
  check(address: string, what: string, signal: AbortSignal): Promise<boolean>
}

/** Passing when the unit says SERVING, or answers the method given. */
export function grpcProbe(grpc: GrpcProber, address: string, what: string): Probe {
  return (signal) => grpc.check(address, what, signal)
}

/** For integrated units without a probe of their own: whatever the unit offers. */
export function ladderProbe(grpc: GrpcProber, address: string): Probe {
  return grpcProbe(grpc, address, 'ladder')
}
