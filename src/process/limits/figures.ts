import type { Usage } from '../usage.ts'
import type { CellReading } from './backend.ts'
import type { Amounts } from './resources.ts'

/** Turns readings of one tree, which partly count from its start, into what limits speak of. */
export function createFigures(): (usage: Usage, cell: CellReading, nowMs: number) => Amounts {
  let last: { readonly usage: Usage; readonly atMs: number } | undefined
  return (usage, cell, nowMs) => {
    const before = last
    last = { usage, atMs: nowMs }
    const rate = (figure: 'ioReadBytes' | 'ioWriteBytes'): number | undefined => {
      const [then, now] = [before?.usage[figure], usage[figure]]
      if (before === undefined || then === undefined || now === undefined || nowMs <= before.atMs) return undefined
      return (Math.max(0, now - then) * 1_000) / (nowMs - before.atMs)
    }
    return {
      // What the kernel counts is what it limits, and counts shared memory once.
      memory: cell.memory ?? usage.rssBytes,
      cpu: usage.cpu,
      pids: cell.pids ?? usage.threads ?? usage.processes,
      files: usage.files,
      'io.read': rate('ioReadBytes'),
      'io.write': rate('ioWriteBytes'),
    }
  }
}
