import type { UnitConfig } from '../config.ts'
import type { CaptureSource } from './capture.ts'
import { KEEP_ALL, lineFilter } from './line-filter.ts'

/** What of the output is kept, and for how long. */
type Keeping = Omit<CaptureSource, 'unit' | 'replica' | 'instance' | 'pid' | 'stdoutPath' | 'stderrPath' | 'ended'>

/** As the configuration of the unit has it. */
export function keepingOf(logs: UnitConfig['logs']): Keeping {
  return {
    maxBytes: logs.max_size,
    keep: logs.keep,
    maxAgeMs: logs.max_age,
    compress: logs.compress,
    backlogBytes: logs.backlog,
    keeps: lineFilter(compiled(logs.include), compiled(logs.exclude)),
  }
}

/** Where the configuration of the unit is not known, nothing is deleted that it may want kept. */
export const KEEP_EVERYTHING: Keeping = {
  maxBytes: 10 * 1024 * 1024,
  keep: 1_000,
  maxAgeMs: undefined,
  compress: false,
  backlogBytes: 256 * 1024 * 1024,
  keeps: KEEP_ALL,
}

function compiled(patterns: readonly string[]): readonly RegExp[] {
  return patterns.map((source) => new RegExp(source, 'u'))
}
