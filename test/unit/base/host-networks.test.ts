import t from 'tap'
import { byKind, hostNetworks, isLinkLocalV6, kindOf, rankOf } from '../../../src/base/host-networks.ts'
import { interfaceAddress } from '../../support/interface-address.ts'

const NO_MAC = '00:00:00:00:00:00'

t.test('what an interface is for is told from its name, its hardware and its mask', async (t) => {
  const kind = (name: string, cidr = '10.0.0.5/24', more = {}) => kindOf(name, interfaceAddress(cidr, more))
  for (const name of ['eth0', 'enp3s0', 'wlan0', 'br0', 'bond0', 'vlan7', 'en0', 'Ethernet'])
    t.equal(kind(name), 'lan', name)
  for (const name of ['docker0', 'br-5f0c4a1b2c3d', 'virbr0', 'podman1', 'cni0', 'lxdbr0', 'vmnet8', 'vEthernet (WSL)'])
    t.equal(kind(name), 'bridge', name)
  for (const name of ['tun0', 'wg0', 'tailscale0', 'utun4', 'ppp0', 'zt7nnig26']) t.equal(kind(name), 'vpn', name)
  t.equal(kind('office', '10.0.0.5/24', { mac: NO_MAC }), 'vpn', 'no hardware: a tunnel by whatever name')
  t.equal(kind('office', '100.64.0.9/32'), 'vpn', 'alone in its network')
  t.equal(kind('lo', '127.0.0.1/8', { internal: true, mac: NO_MAC }), 'loopback')
})

t.test('addresses are ranked by the best network that has them', async (t) => {
  const networks = hostNetworks({
    lo: [interfaceAddress('127.0.0.1/8', { internal: true })],
    eth0: [interfaceAddress('192.168.1.5/24'), interfaceAddress('fd00::5/64')],
    docker0: [interfaceAddress('172.17.0.1/16')],
    wg0: [interfaceAddress('10.9.0.5/24')],
  })
  const ranks = ['192.168.1.77', 'fd00::77', '8.8.8.8', '10.9.0.1', '172.17.0.1', '127.0.0.1'].map((address) =>
    rankOf(address, networks),
  )
  t.same(ranks, [0, 0, 1, 2, 3, 4])
  t.equal(rankOf('no address', networks), 1)
  t.same(
    byKind(networks).map(({ address }) => address),
    ['192.168.1.5', 'fd00::5', '10.9.0.5', '172.17.0.1', '127.0.0.1'],
  )
  t.same(['fe80::1', 'FEBF::1', 'fec0::1', '10.0.0.1'].map(isLinkLocalV6), [true, true, false, false])
  t.ok(hostNetworks().length > 0, 'and of this very host')
})
