import type { EndedCall } from '../../src/rpc/index.ts'

/** A call of `shop.v1.Orders/Get` by a program of this host that ended with OK, unless `more` says otherwise. */
export function endedCall(more: Partial<EndedCall> = {}): EndedCall {
  return {
    door: 'ingress',
    path: '/shop.v1.Orders/Get',
    unit: 'shop',
    instance: 'shop-0-abc123',
    servedBy: '',
    peer: '127.0.0.1:5000',
    status: 0,
    reason: '',
    endedAtMs: 0,
    tookMs: 1,
    requestBytes: 10,
    responseBytes: 20,
    attempts: 1,
    held: false,
    traceparent: '',
    chance: 0,
    ...more,
  }
}
