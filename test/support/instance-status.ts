import type { InstanceStatus } from '../../src/process/index.ts'

/** One replica of `echo` that is up and ready, unless `more` says otherwise. */
export function instanceStatus(more: Partial<InstanceStatus> = {}): InstanceStatus {
  return {
    unit: 'echo',
    instance: 'echo-0-1',
    replica: 0,
    kind: 'integrated',
    state: 'up',
    ready: true,
    pid: 7,
    startedAtMs: 1,
    restarts: 0,
    cpu: 0,
    rssBytes: 0,
    ports: { grpc: 50_051 },
    exit: undefined,
    reason: '',
    want: 'up',
    limits: [],
    retryAtMs: undefined,
    eventId: '',
    ...more,
  }
}
