import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { spawn } from 'node:child_process'
import t from 'tap'
import { countConnections, parseConnections } from '../../../src/process/proc-connections.ts'
import { procTable } from '../../../src/process/proc-table.ts'
import { until } from '../../support/until.ts'

const HEAD = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode'
const row = (local: string, remote: string, state: string, inode: number): string =>
  `   0: ${local} ${remote} ${state} 00000000:00000000 00:00000000 00000000     0        0 ${inode} 1 0000000000000000 20 4 30 10 -1`

t.test('connections to a port are counted, but not those of our own', async (t) => {
  const ports = new Set([0x1f90])
  const text = [
    HEAD,
    row('0100007F:1F90', '00000000:0000', '0A', 1),
    row('0100007F:1F90', '0100007F:A001', '01', 2),
    row('0100007F:A001', '0100007F:1F90', '01', 3),
    row('0100007F:1F90', '0100007F:A002', '01', 4),
    row('0100007F:A002', '0100007F:1F90', '01', 5),
    row('0100007F:1F90', '0100007F:A003', '06', 0),
    row('0100007F:1F91', '0100007F:A004', '01', 6),
    '',
  ].join('\n')
  // A server that listens on both kinds of address sees a client of one of them there.
  const six = [HEAD, row('0000000000000000FFFF00000100007F:1F90', '0000000000000000FFFF00000100007F:A005', '01', 7)]
  const four = [HEAD, row('0100007F:A005', '0100007F:1F90', '01', 8)]
  const ends = [text, six.join('\n'), four.join('\n')].flatMap((each) => parseConnections(each, ports))
  t.same([...countConnections(ends, ports, new Set())], [[0x1f90, 3]])
  t.same([...countConnections(ends, ports, new Set(['3', '8']))], [[0x1f90, 1]])
})

t.test('the system tells of them', { skip: process.platform !== 'linux' && 'needs /proc' }, async (t) => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const count = async (): Promise<number> => (await procTable().connections?.(new Set([port])))?.get(port) ?? 0
  const own = connect(port, '127.0.0.1')
  await once(own, 'connect')
  t.equal(await count(), 0, 'that of this process is left out')
  const code = `require('net').connect(${port}, '127.0.0.1'); setInterval(() => {}, 1e6)`
  const other = spawn(process.execPath, ['-e', code], { stdio: 'ignore' })
  t.teardown(() => {
    other.kill('SIGKILL')
    own.destroy()
    server.close()
  })
  await until('the connection of another process to be seen', async () => (await count()) === 1)
  other.kill('SIGKILL')
  await until('its end to be seen', async () => (await count()) === 0)
  t.pass()
})
