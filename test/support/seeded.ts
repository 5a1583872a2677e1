export { seeded } from '../../src/sim/seeded.ts'
