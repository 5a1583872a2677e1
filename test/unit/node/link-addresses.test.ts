import t from 'tap'
import { hostNetworks } from '../../../src/base/host-networks.ts'
import { linkAddresses, splitHostPort } from '../../../src/node/link-addresses.ts'
import { interfaceAddress } from '../../support/interface-address.ts'

const HOST = hostNetworks({
  lo: [interfaceAddress('127.0.0.1/8', { internal: true })],
  docker0: [interfaceAddress('172.17.0.1/16')],
  tun0: [interfaceAddress('10.8.0.2/24')],
  eth0: [interfaceAddress('fe80::1/64'), interfaceAddress('fd00::5/64'), interfaceAddress('10.0.0.5/24')],
})

t.test('a port bound to one address is reached there and nowhere else', async (t) => {
  t.same(linkAddresses({ host: '127.0.0.1', port: 9472 }, HOST, undefined), ['127.0.0.1:9472'])
  t.same(linkAddresses({ host: 'fd00::5', port: 1 }, HOST, ['tun0']), ['[fd00::5]:1'])
})

t.test('a port bound to all is reached at the interfaces of the mesh, loopback only when named', async (t) => {
  t.same(
    linkAddresses({ host: '0.0.0.0', port: 1 }, HOST, undefined),
    ['10.0.0.5:1', '10.8.0.2:1', '172.17.0.1:1'],
    'the LAN first',
  )
  t.same(linkAddresses({ host: '0.0.0.0', port: 1 }, HOST, ['eth0']), ['10.0.0.5:1'])
  t.same(linkAddresses({ host: '0.0.0.0', port: 1 }, HOST, ['lo']), ['127.0.0.1:1'])
  t.same(linkAddresses({ host: '0.0.0.0', port: 1 }, HOST, ['10.8.0.2']), ['10.8.0.2:1'])
  t.same(linkAddresses({ host: '::', port: 1 }, HOST, ['eth0']), ['10.0.0.5:1', '[fd00::5]:1'], 'IPv4 first')
})

t.test('host and port are split, also of IPv6', async (t) => {
  t.same(splitHostPort('127.0.0.1:9470'), { host: '127.0.0.1', port: 9470 })
  t.same(splitHostPort('[::1]:9470'), { host: '::1', port: 9470 })
})
