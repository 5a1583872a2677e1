import type { Clock } from '../../base/clock.ts'
import type { Log } from '../../base/log.ts'
import { createMeter, type Meter } from '../meter.ts'
import type { ProcessTable } from '../process-table.ts'
import type { InstanceStatus } from '../status.ts'
import { createUsageHistory, type UsageHistory } from '../usage-history.ts'

/** How often the usage of units is read. Kubernetes reads every 10 s; people who look want news sooner. */
const METER_MS = 2_000

/** How often that of units with limits is. */
const LIMIT_METER_MS = 1_000

/** Everything that measures what units use. */
export interface Gauges {
  readonly meter: Meter
  /** Measures often what has limits. */
  readonly limitMeter: Meter
  readonly history: UsageHistory
}

export interface GaugeSeams {
  readonly clock: Clock
  readonly table: ProcessTable
  readonly log: Log
  /** Whose usage is remembered after each reading. */
  readonly statuses: () => readonly InstanceStatus[]
}

export function createGauges({ clock, table, log, statuses }: GaugeSeams): Gauges {
  const history = createUsageHistory()
  const onReading = (): void => history.note(statuses(), { wallMs: clock.wallMs(), nowMs: clock.nowMs() })
  return {
    meter: createMeter({ clock, table, log, onReading }, { intervalMs: METER_MS }),
    limitMeter: createMeter({ clock, table, log }, { intervalMs: LIMIT_METER_MS }),
    history,
  }
}
