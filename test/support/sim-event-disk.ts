export { SimEventDisk } from '../../src/sim/sim-event-disk.ts'
