// The face of the floor: supervise units on this machine.
export {
  checkUnit,
  type FindConfig,
  type ProbeConfig,
  type RestartConfig,
  type StopSignal,
  type UnitConfig,
  unitShape,
} from './config.ts'
export { userNamed } from './accounts.ts'
export type { Asker, NewEvent } from './causes.ts'
export type { AwaitedSlot } from './admission.ts'
export { findCycle } from './dependencies.ts'
export type { Elsewhere } from './dependency-gate.ts'
export { type Exit } from './exit.ts'
export type { Child, Gone, InstancePlace, Left, ProcessHost, SpawnRequest } from './host.ts'
export type { ProcessIdentity } from './identity.ts'
export { isJob } from './jobs/terms.ts'
export { readCadence } from './jobs/cadence.ts'
export type { Jobs, StartedRun } from './jobs/desk.ts'
export { isRunBeside } from './jobs/lanes.ts'
export type { RunRecord } from './jobs/run-record.ts'
export type { ScheduleMesh } from './jobs/schedule-mesh.ts'
export { isBelievable } from './jobs/ticks.ts'
export { type Claim, newerClaim, type SharedSchedule } from './jobs/turn.ts'
export {
  addedEnvironment,
  type EnvironmentOf,
  type InstanceDescription,
  launchHash,
  markOf,
  type UnitSpec,
} from './launch.ts'
export type { Cell, KernelLimits } from './limits/backend.ts'
export { type LimitSupport, limitSupport } from './limits/support.ts'
export { type Level as LogLevelName, LEVELS } from './logs/parse.ts'
export { type ListeningPort, type Look, type SightedProcess, theOnly } from './look.ts'
export type { LogLine, LogQuery, Output } from './output.ts'
export type { Portrait } from './portrait.ts'
export type { Probe } from './probe.ts'
export type { GrpcProber } from './probes/grpc.ts'
export { identify, isSame, type Listener, type ProcessInfo, type ProcessTable } from './process-table.ts'
export type { RunCommand } from './run-command.ts'
export type { InstanceStatus, ProcessEvent, ProcessEventType, StoppedInstance, UnitStateName } from './status.ts'
export { createSupervisor, type Supervisor } from './supervisor.ts'
export type { SupervisorConfig, SupervisorSeams } from './supervisor/seams.ts'
export type { Restraint, RestraintChange, Restraints } from './restraint.ts'
export { DEFAULT_HOLD_MS, type SleepTerms, sleepTermsOf } from './sleep-terms.ts'
export { systemHost } from './system-host.ts'
export type { UnitPhase } from './unit-state.ts'
export { UNIT_NAME } from './unit-name.ts'
export { createOwnUsage } from './own-usage.ts'
export type { Usage } from './usage.ts'
export type { UsageQuery, UsageSample, UsageSeries } from './usage-history.ts'
export { wellKnown } from './well-known.ts'
