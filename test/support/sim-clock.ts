export { settle, SimClock } from '../../src/sim/sim-clock.ts'
