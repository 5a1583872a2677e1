/**
 * The library: a node inside your own program, and a typed client of any node's control API.
 *
 * Everything exported here is public and follows semantic versioning; nothing else is.
 */
export { type Details, HsuError, type Reason } from './base/error.ts'
export { type Fields, type Log, type LogLevel, silentLog } from './base/log.ts'
export { createNode, type HsuNode, type NodeEvent, type NodeOptions } from './node/index.ts'
export type { Exit, InstanceStatus, UnitStateName } from './process/index.ts'
export { type CallOptions, type Connection, ControlService, connect, type ServiceClient } from './rpc/index.ts'
