export {
  type ConfigDescription,
  configReference,
  describeConfig,
  jsonSchema,
  type LoadedConfig,
} from './config/index.ts'
export type {
  DoorHandles,
  FromSuccessor,
  FromPredecessor,
  Predecessor,
  SpawnSuccessor,
  Successor,
} from './succession.ts'
export { createNode, type HsuNode, type NodeOptions } from './create-node.ts'
export { diagnoseLimits, type LimitCheck } from './diagnose.ts'
export { ALL_EVENTS, type NodeEvent } from './event.ts'
export type { EventDisk } from './event-disk.ts'
export { compareIds } from './event-ids.ts'
export { joinByInvite } from './invite/joining.ts'
export { createMeshKey, formatMeshKeys, meshKeyFingerprints } from './mesh-key.ts'
export type { CallLine } from './calls/call-line.ts'
export { type RunningNode, startNode } from './node.ts'
export { type NodeSetup, prepareSetup } from './node-setup.ts'
export type { Outside, Servers } from './outside.ts'
export { type NodePaths, socketPath } from './paths.ts'
export {
  loadNodeConfig,
  nodeLogFile,
  systemPaths,
  type NodeRequest,
  type NodeSources,
  type RunOptions,
  runNode,
} from './run-node.ts'
