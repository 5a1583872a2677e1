export { SimNetwork, type SimNetworkOptions } from '../../src/sim/sim-network.ts'
export { SimTransport } from '../../src/sim/sim-transport.ts'
