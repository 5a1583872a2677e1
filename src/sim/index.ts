// The face of the floor: whole nodes on a world in memory. Loaded only by who simulates.
export type { Breach } from './invariants.ts'
export { simSetup, type SimSetup } from './setups.ts'
export { parseScript, type Script } from './script.ts'
export { type NodeState, type Second, simulate } from './simulate.ts'
