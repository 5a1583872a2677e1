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
export type { NodeEvent } from './event.ts'
export type { EventDisk } from './event-disk.ts'
export { compareIds } from './event-ids.ts'
export { joinByInvite } from './invite/joining.ts'
export { createMeshKey, meshKeyFingerprints } from './mesh-key.ts'
export { type NodePaths, socketPath } from './paths.ts'
export { loadNodeConfig, nodeLogFile, systemPaths, type NodeRequest, type RunOptions, runNode } from './run-node.ts'
