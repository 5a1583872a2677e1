import t from 'tap'
import { openLinkIdentity, renewalStep } from '../../../src/node/link-identity.ts'
import { memoryLog } from '../../support/memory-log.ts'
import { seeded } from '../../../src/sim/seeded.ts'
import { SimClock } from '../../../src/sim/sim-clock.ts'
import { simStore } from '../../../src/sim/sim-store.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const YEAR_MS = 365 * DAY_MS

/** A host that makes certificates by number, and keeps them on a disk. */
function rig() {
  const disk = new Map<string, Uint8Array>()
  const clock = new SimClock()
  const log = memoryLog()
  let made = 0
  const make = async () => {
    made += 1
    return { certPem: `cert ${made}`, keyPem: `key ${made}`, fingerprint: `print ${made}` }
  }
  const seams = { clock, random: seeded(1), store: simStore(disk), log, make }
  const open = (lifetimeMs = YEAR_MS, mayRenewAtStart = true) =>
    openLinkIdentity(seams, { lifetimeMs, mayRenewAtStart })
  return { disk, clock, log, open }
}

t.test('a link certificate is kept, and renewed at a start when two thirds of its year are over', async (t) => {
  const { disk, clock, open } = rig()
  const beganMs = clock.wallMs()
  const load = async (day: number, mayRenew = true): Promise<string> => {
    clock.setWall(beganMs + day * DAY_MS)
    return (await open(YEAR_MS, mayRenew)).certificate.fingerprint
  }
  t.equal(await load(0), 'print 1')
  t.equal(await load(243), 'print 1')
  t.equal(await load(244, false), 'print 1', 'not by a process that takes over from another')
  t.equal(await load(244), 'print 2')
  t.equal(await load(100), 'print 2', 'a clock that was set back changes nothing')
  disk.set('link.json', Buffer.from('{"certPem":"a","keyPem":"b","fingerprint":"with the name of the node"}'))
  t.equal(await load(245), 'print 3', 'one of an earlier version says too much')
})

t.test(
  'while the node runs the next one is announced, then shown, and the one before counts for the rest of its time',
  async (t) => {
    const { clock, open, log } = rig()
    const identity = await open(24 * HOUR_MS)
    const { certificate } = identity
    const shown: string[] = []
    certificate.renewed?.subscribe(() => shown.push(`${certificate.certPem}, ${certificate.keyPem}`))
    await identity.start()
    const history: string[] = []
    for (let hour = 0; hour < 48; hour += 1) {
      await clock.advance(HOUR_MS)
      const now = identity.fingerprints().join()
      if (now !== history.at(-1)) history.push(now)
    }
    t.same(history.slice(0, 5), ['print 1', 'print 1,print 2', 'print 2,print 1', 'print 2', 'print 2,print 3'])
    t.same(shown.slice(0, 2), ['cert 2, key 2', 'cert 3, key 3'])
    t.equal(log.entries.filter(({ message }) => message === 'link certificate renewed').length, shown.length)
    await identity.stop()
    t.equal(clock.sleeping, 0)
  },
)

t.test('a restart goes on in the middle of it', async (t) => {
  const { clock, open } = rig()
  const first = await open(24 * HOUR_MS)
  await first.start()
  await clock.advance(16.6 * HOUR_MS)
  await first.stop()
  t.same(first.fingerprints(), ['print 1', 'print 2'])
  const second = await open(24 * HOUR_MS, false)
  t.same(second.fingerprints(), ['print 1', 'print 2'])
  await second.start()
  await clock.advance(3 * HOUR_MS)
  t.same(second.fingerprints(), ['print 2', 'print 1'])
  await second.stop()
  t.same((await open(24 * HOUR_MS)).fingerprints(), ['print 2', 'print 1'])
})

t.test('a clock that is set changes nothing that others rely on', async (t) => {
  const kept = { certPem: 'c', keyPem: 'k', fingerprint: 'p', madeAtMs: YEAR_MS }
  const next = { ...kept, fingerprint: 'n', madeAtMs: 2 * YEAR_MS }
  t.equal(renewalStep(kept, 0, YEAR_MS), undefined)
  t.equal(renewalStep({ ...kept, next }, 0, YEAR_MS), undefined, 'the next one is not shown before it was announced')
  t.equal(renewalStep({ ...kept, next }, 2 * YEAR_MS + HOUR_MS, YEAR_MS), 'show')
  const before = { fingerprint: 'b', untilMs: 1.5 * YEAR_MS }
  t.equal(renewalStep({ ...kept, before }, YEAR_MS, YEAR_MS), undefined)
  t.equal(renewalStep({ ...kept, before }, 1.5 * YEAR_MS, YEAR_MS), 'forget')
})
