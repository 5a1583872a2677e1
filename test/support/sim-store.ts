export { SimDisk, simStore } from '../../src/sim/sim-store.ts'
