export { SimHost, type SimScript } from '../../src/sim/sim-host.ts'
