import type { Listener, ProcessInfo, ProcessTable } from '../../src/process/process-table.ts'

/** A process as tests describe it; whatever is left out is unremarkable. */
export function processInfo(info: Partial<ProcessInfo> & { readonly pid: number }): ProcessInfo {
  return {
    ppid: 1,
    pgid: info.pid,
    sessionId: info.pid,
    startTime: `start-${info.pid}`,
    name: 'program',
    argv: ['program'],
    state: 'S',
    cpuMs: 0,
    rssBytes: 0,
    ...info,
  }
}

/** A process table that says what it is told. */
export interface FakeTable extends ProcessTable {
  processes: readonly ProcessInfo[]
  open: readonly Listener[]
  boot: string
  /** Thrown by `get` and `list` while set. */
  fault: Error | undefined
}

export function fakeTable(processes: readonly ProcessInfo[] = []): FakeTable {
  const table: FakeTable = {
    processes,
    open: [],
    boot: 'boot-1',
    fault: undefined,
    bootId: async () => table.boot,
    async list() {
      if (table.fault !== undefined) throw table.fault
      return table.processes
    },
    async get(pid) {
      if (table.fault !== undefined) throw table.fault
      return table.processes.find((info) => info.pid === pid)
    },
    marked: async () => [],
    listeners: async () => table.open,
  }
  return table
}
