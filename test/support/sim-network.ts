export { SimNetwork, type SimNetworkOptions, SimTransport } from '../../src/sim/sim-network.ts'
