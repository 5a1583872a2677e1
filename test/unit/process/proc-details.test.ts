import t from 'tap'
import { parseProcIo } from '../../../src/process/proc-details.ts'

const IO = `rchar: 323934931
wchar: 323929600
syscr: 632687
syscw: 632675
read_bytes: 8192
write_bytes: 323932160
cancelled_write_bytes: 4096
`

t.test('what moved to and from storage is told, not what moved through pipes', async (t) => {
  t.same(parseProcIo(IO), { ioReadBytes: 8_192, ioWriteBytes: 323_932_160 })
})

t.test('a kernel without accounting of storage tells nothing', async (t) => {
  t.same(parseProcIo('rchar: 1\nwchar: 2\n'), {})
})
