import t from 'tap'
import type { ProcessInfo } from '../../../src/process/process-table.ts'
import { type Marks, type Scan, sharedLooks } from '../../../src/process/shared-looks.ts'
import { settle } from '../../../src/sim/sim-clock.ts'

const infoOf = (pid: number): ProcessInfo =>
  ({ pid, ppid: 1, pgid: pid, sessionId: pid }) as Partial<ProcessInfo> as ProcessInfo

/** Scans that end when they are told to. */
function heldScans() {
  const scans: {
    readonly marks: string[]
    readonly end: (scan: Scan) => void
    readonly fail: (error: Error) => void
  }[] = []
  const look = sharedLooks(
    (marks: Marks) =>
      new Promise<Scan>((end, fail) => {
        scans.push({ marks: [...marks.keys()], end, fail })
      }),
  )
  return { scans, look }
}

t.test('who asks at one moment shares a scan; who asks while one is made has the next, begun after that', async (t) => {
  const { scans, look } = heldScans()
  const first = ['A=1', 'A=2', 'A=3'].map((mark) => look(mark))
  await settle()
  t.same(
    scans.map(({ marks }) => marks),
    [['A=1', 'A=2', 'A=3']],
  )
  const later = Array.from({ length: 1_000 }, (_, index) => look(`B=${index}`))
  await settle()
  t.equal(scans.length, 1, 'one at a time')
  const [own, other] = [infoOf(7), infoOf(8)]
  scans[0]?.end({ list: [own, other], marked: new Map([['A=2', [own]]]) })
  const seen = await Promise.all(first)
  t.same(
    seen.map(({ marked }) => marked),
    [[], [own], []],
  )
  t.ok(seen.every(({ index }) => index.byPid.size === 2))
  await settle()
  t.equal(scans.length, 2)
  t.equal(scans[1]?.marks.length, 1_000)
  scans[1]?.end({ list: [], marked: new Map() })
  t.equal((await Promise.all(later)).length, 1_000)
})

t.test('a scan that fails fails for those who shared it, and for nobody else', async (t) => {
  const { scans, look } = heldScans()
  const [one, two] = [look('A=1'), look('A=2')]
  one.catch(() => undefined)
  two.catch(() => undefined)
  await settle()
  const later = look('A=3')
  scans[0]?.fail(new Error('EMFILE'))
  await t.rejects(one, /EMFILE/)
  await t.rejects(two, /EMFILE/)
  await settle()
  scans[1]?.end({ list: [], marked: new Map() })
  await t.resolves(later)
})
