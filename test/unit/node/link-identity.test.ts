import t from 'tap'
import { silentLog } from '../../../src/base/log.ts'
import { loadLinkCertificate } from '../../../src/node/link-identity.ts'
import { simStore } from '../../support/sim-store.ts'

const DAY_MS = 86_400_000

t.test('a link certificate is kept, and renewed at a start when two thirds of its year are over', async (t) => {
  const disk = new Map<string, Uint8Array>()
  let made = 0
  const make = async () => {
    made += 1
    return { certPem: `cert ${made}`, keyPem: 'key', fingerprint: `print ${made}` }
  }
  const load = async (day: number, mayRenew = true): Promise<string> => {
    const seams = { store: simStore(disk), log: silentLog, wallMs: day * DAY_MS }
    return (await loadLinkCertificate(seams, mayRenew, make)).fingerprint
  }
  t.equal(await load(0), 'print 1')
  t.equal(await load(243), 'print 1')
  t.equal(await load(244, false), 'print 1', 'not by a process that takes over from another')
  t.equal(await load(244), 'print 2')
  t.equal(await load(100), 'print 2', 'a clock that was set back changes nothing')
  disk.set('link.json', Buffer.from('{"certPem":"a","keyPem":"b","fingerprint":"with the name of the node"}'))
  t.equal(await load(245), 'print 3', 'one of an earlier version says too much')
})
