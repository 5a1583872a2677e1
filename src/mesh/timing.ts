import * as z from 'zod'
import { duration } from '../base/schema.ts'
import { MESH_PRESETS, type MeshTiming } from './presets.ts'

const few = z.int().min(0).max(10)

/** Single values of the preset, changed. All nodes of a mesh should have the same. */
export const TimingConfig = z
  .strictObject({
    ping_period: duration
      .optional()
      .describe('Time between two pings of this node; whoever was silent longest is asked'),
    ping_timeout: duration.optional().describe('How long a ping may take; at most ping_period'),
    indirect_timeout: duration.optional().describe('How long others have to ping in our place; at least ping_timeout'),
    indirect_pings: few.optional().describe('How many members are asked to ping in our place'),
    confirmations: few.optional().describe('How many voices besides the first make a suspicion as short as it gets'),
    suspicion_min: duration
      .optional()
      .describe('Shortest suspicion of a silent member of up to 10; at least ping_timeout + indirect_timeout'),
    suspicion_max_factor: z
      .number()
      .min(1)
      .max(100)
      .optional()
      .describe('Longest suspicion, as a multiple of the shortest'),
    suspicion_alone: duration.optional().describe('Suspicion in a mesh of two; at least twice ping_timeout'),
    link_loss: duration.optional().describe('Suspicion of a member whose connections broke; at most suspicion_min'),
    sync_interval: duration.optional().describe('Rest between two syncs with a random member'),
    sync_timeout: duration.optional().describe('How long one request of a sync may take; at least ping_timeout'),
    leave_timeout: duration.optional().describe('How long leaving waits for the others to have heard it'),
    left_kept: duration
      .optional()
      .describe('How long a member that left is remembered; at least 10 times sync_interval'),
    dead_kept: duration
      .optional()
      .describe('How long a dead member is remembered and dialled; at least 10 times sync_interval'),
  })
  .prefault({})
  .describe('Single times of the preset, changed; the same on all nodes of a mesh')

type TimingConfig = z.output<typeof TimingConfig>

const FIELDS = {
  ping_period: 'pingPeriodMs',
  ping_timeout: 'pingTimeoutMs',
  indirect_timeout: 'indirectTimeoutMs',
  indirect_pings: 'indirectPings',
  confirmations: 'confirmations',
  suspicion_min: 'suspicionMinMs',
  suspicion_max_factor: 'suspicionMaxFactor',
  suspicion_alone: 'suspicionAloneMs',
  link_loss: 'linkLossMs',
  sync_interval: 'syncIntervalMs',
  sync_timeout: 'syncTimeoutMs',
  leave_timeout: 'leaveTimeoutMs',
  left_kept: 'leftTombstoneMs',
  dead_kept: 'deadTombstoneMs',
} as const satisfies Record<keyof TimingConfig, keyof MeshTiming>

/** The times of a preset with what the configuration changes. */
export function timingOf(preset: keyof typeof MESH_PRESETS, changes: TimingConfig): MeshTiming {
  const changed = Object.entries(changes).map(([key, value]) => [FIELDS[key as keyof TimingConfig], value])
  return { ...MESH_PRESETS[preset], ...(Object.fromEntries(changed) as Partial<MeshTiming>) }
}

/** A value that makes no sense beside the others, by its key in the file. */
interface Fault {
  readonly key: keyof TimingConfig
  readonly message: string
}

/** Everything that does not fit together, with the values of the preset where nothing else is said. Presets have no faults. */
export function checkTiming(preset: keyof typeof MESH_PRESETS, changes: TimingConfig): Fault[] {
  const timing = timingOf(preset, changes)
  const faults: Fault[] = []
  const atLeast = (key: keyof TimingConfig, least: number, what: string): void => {
    if (timing[FIELDS[key]] < least) faults.push({ key, message: `must be at least ${what} (${least} ms)` })
  }
  const { pingTimeoutMs, indirectTimeoutMs, syncIntervalMs } = timing
  atLeast('ping_timeout', 10, 'what a timer can tell')
  atLeast('link_loss', 10, 'what a timer can tell')
  atLeast('sync_interval', 100, 'a tenth of a second')
  atLeast('ping_period', pingTimeoutMs, 'ping_timeout')
  atLeast('indirect_timeout', pingTimeoutMs, 'ping_timeout')
  atLeast('suspicion_min', pingTimeoutMs + indirectTimeoutMs, 'ping_timeout + indirect_timeout')
  atLeast('suspicion_min', timing.linkLossMs, 'link_loss')
  atLeast('suspicion_alone', 2 * pingTimeoutMs, 'twice ping_timeout')
  atLeast('sync_timeout', pingTimeoutMs, 'ping_timeout')
  atLeast('left_kept', 10 * syncIntervalMs, '10 times sync_interval')
  atLeast('dead_kept', 10 * syncIntervalMs, '10 times sync_interval')
  return faults
}
