import fc from 'fast-check'
import t from 'tap'
import type { Digest, Registration, Section } from '../../../src/mesh/member.ts'
import { type Member, type MemberStatus, merge, refute } from '../../../src/mesh/merge.ts'
import { Registry } from '../../../src/mesh/registry/registry.ts'
import { canonical, mergeSection } from '../../../src/mesh/registry/section.ts'
import { planSync } from '../../../src/mesh/sync-plan.ts'
import { throwsReason } from '../../support/throws-reason.ts'

const STATUSES: readonly MemberStatus[] = ['alive', 'suspect', 'dead', 'left']
const member = (status: MemberStatus, incarnation: number): Member => ({ nodeId: 'n1', status, incarnation })
const all = STATUSES.flatMap((status) => [0, 1, 2].map((incarnation) => member(status, incarnation)))

t.test('merge', async (t) => {
  t.test('at equal incarnation the worse news wins', async (t) => {
    t.equal(merge(member('alive', 1), member('suspect', 1)).status, 'suspect')
    t.equal(merge(member('dead', 1), member('suspect', 1)).status, 'dead')
    t.equal(merge(member('dead', 1), member('left', 1)).status, 'left')
  })

  t.test('a higher incarnation wins whatever the news', async (t) => {
    t.equal(merge(member('dead', 1), member('alive', 2)).status, 'alive')
    t.equal(merge(member('dead', 2), member('alive', 1)).status, 'dead')
  })

  t.test('nothing learnt returns the very object we had', async (t) => {
    const known = member('alive', 1)
    t.equal(merge(known, { ...known }), known)
  })

  t.test('converges in any order and with repeats', async (t) => {
    for (const a of all)
      for (const b of all) {
        t.same(merge(a, b), merge(b, a), 'commutative')
        t.equal(merge(merge(a, b), b), merge(a, b), 'idempotent')
        for (const c of all) t.same(merge(merge(a, b), c), merge(a, merge(b, c)), 'associative')
      }
  })
})

t.test('refute outbids the rumour, and ignores a stale one', async (t) => {
  t.equal(refute(member('alive', 3), member('suspect', 5)).incarnation, 6)
  t.equal(refute(member('alive', 3), member('dead', 3)).incarnation, 4)
  t.equal(refute(member('alive', 3), member('suspect', 2)).incarnation, 3)
  t.equal(refute(member('alive', 3), member('alive', 3)).incarnation, 3)
})

const registration = (unit: string): Registration => ({
  unit,
  instance: `${unit}-0`,
  replica: 0,
  kind: 'managed',
  state: 'up',
  ready: true,
  services: ['a.B'],
  address: '127.0.0.1:1',
  ports: { grpc: 1, http: 2 },
})

t.test('mergeSection', async (t) => {
  const section: fc.Arbitrary<Section> = fc.record({
    owner: fc.constant('n1'),
    incarnation: fc.nat(3),
    version: fc.nat(3),
    registrations: fc.array(fc.constantFrom('a', 'b').map(registration), { maxLength: 2 }),
  })

  t.test('is commutative, associative and idempotent', async () => {
    fc.assert(
      fc.property(section, section, section, (a, b, c) => {
        t.same(mergeSection(a, b), mergeSection(b, a))
        t.same(mergeSection(mergeSection(a, b), c), mergeSection(a, mergeSection(b, c)))
        t.equal(mergeSection(mergeSection(a, b), b), mergeSection(a, b))
      }),
    )
  })

  t.test('takes the later run before the higher version', async (t) => {
    const old: Section = { owner: 'n1', incarnation: 1, version: 9, registrations: [registration('old')] }
    const fresh: Section = { owner: 'n1', incarnation: 2, version: 1, registrations: [] }
    t.equal(mergeSection(old, fresh), fresh)
    t.equal(mergeSection(fresh, old), fresh)
  })
})

t.test('registry', async (t) => {
  t.test('a version is only used up by a real change', async (t) => {
    const registry = new Registry('n1')
    registry.begin(4)
    t.equal(registry.publish([registration('b'), registration('a')]), true)
    const { version } = registry.own
    t.equal(registry.publish([registration('a'), { ...registration('b'), ports: { http: 2, grpc: 1 } }]), false)
    t.equal(registry.own.version, version)
    t.equal(registry.publish([registration('a')]), true)
    t.equal(registry.own.version, version + 1)
    t.equal(registry.own.incarnation, 4)
  })

  t.test('what was published before the start is there after it', async (t) => {
    const registry = new Registry('n1')
    registry.publish([registration('a')])
    registry.begin(4)
    const { owner, incarnation, version, registrations } = registry.own
    t.same(
      { owner, incarnation, version, registrations },
      { ...{ owner: 'n1', incarnation: 4, version: 1 }, registrations: [registration('a')] },
    )
  })

  t.test('a section is taken when newer, never for oneself, and gone when dropped', async (t) => {
    const registry = new Registry('n1')
    const section: Section = { owner: 'n2', incarnation: 1, version: 2, registrations: [registration('x')] }
    t.equal(registry.take(section), true)
    t.equal(registry.take({ ...section }), false)
    t.equal(registry.take({ ...section, version: 1, registrations: [] }), false)
    t.equal(registry.take({ ...section, owner: 'n1', version: 99 }), false)
    const before = registry.registrations()
    t.same([...before.keys()], ['n1', 'n2'])
    t.equal(registry.drop('n2'), true)
    t.equal(registry.drop('n2'), false)
    t.equal(registry.drop('n1'), false)
    t.same([...registry.registrations().keys()], ['n1'])
    t.equal(before.size, 2, 'a snapshot does not change')
  })

  t.test('has a bound', async (t) => {
    const many = Array.from({ length: 4_001 }, (_, index) => registration(`u${index}`))
    await throwsReason(t, 'LIMIT_EXCEEDED', () => new Registry('n1').publish(many))
  })

  t.test('equal content is equal text', async (t) => {
    t.equal(canonical([registration('a'), registration('b')]), canonical([registration('b'), registration('a')]))
    t.not(canonical([registration('a')]), canonical([{ ...registration('a'), ready: false }]))
    const claimed = (tickMs: number) => [
      { ...registration('a'), schedule: { schedule: 's', tickMs, by: '', active: 0 } },
    ]
    t.not(canonical(claimed(1)), canonical(claimed(2)))
    const canary = (share: number, headers: Record<string, string>) => [
      { ...registration('a'), canary: { share, headers } },
    ]
    t.not(canonical(canary(1, {})), canonical(canary(2, {})))
    t.equal(canonical(canary(1, { a: '1', b: '2' })), canonical(canary(1, { b: '2', a: '1' })))
    t.not(canonical([{ ...registration('a'), version: '1' }]), canonical([registration('a')]))
  })
})

t.test('planSync', async (t) => {
  const digest = (owner: string, changes: Partial<Digest> = {}): Digest => ({
    owner,
    status: 'alive',
    incarnation: 1,
    recordIncarnation: 1,
    recordVersion: 1,
    sectionIncarnation: 1,
    sectionVersion: 1,
    recordCheck: 11,
    ...changes,
  })
  const plan = (mine: readonly Digest[], theirs: readonly Digest[]) =>
    planSync(new Map(mine.map((one) => [one.owner, one])), theirs)

  t.test('equal views have nothing to say', async (t) => {
    t.same(plan([digest('a'), digest('b')], [digest('b'), digest('a')]), { wanted: [], give: [], rumours: [] })
  })

  t.test('what one side lacks the other gives', async (t) => {
    const newer = digest('a', { sectionVersion: 2 })
    t.same(plan([digest('a')], [newer]).wanted, ['a'])
    t.same(plan([newer], [digest('a')]).give, [{ owner: 'a', record: false, section: true, rumour: false }])
    t.same(plan([], [digest('a')]).wanted, ['a'])
    t.same(plan([digest('a')], []).give, [{ owner: 'a', record: true, section: true, rumour: false }])
    t.same(plan([digest('a')], [digest('a', { recordVersion: 2 })]).wanted, ['a'])
  })

  t.test('bad news is told to those who know the member, and nobody learns of the dead anew', async (t) => {
    const dead = digest('a', { status: 'dead', sectionIncarnation: 0, sectionVersion: 0 })
    t.same(plan([dead], [digest('a')]).give, [{ owner: 'a', record: false, section: false, rumour: true }])
    t.same(plan([digest('a')], [dead]).rumours, [
      { nodeId: 'a', status: 'dead', incarnation: 1, from: '', linkLost: false },
    ])
    t.same(plan([dead], []), { wanted: [], give: [], rumours: [] })
    t.same(plan([], [dead]), { wanted: [], give: [], rumours: [] })
  })

  t.test('whoever came back with a higher incarnation is fetched, with its section', async (t) => {
    const dead = digest('a', { status: 'dead', sectionIncarnation: 0, sectionVersion: 0 })
    const back = digest('a', { incarnation: 2, recordIncarnation: 2 })
    t.same(plan([dead], [back]), { wanted: ['a'], give: [], rumours: [] })
    t.same(plan([back], [dead]).give, [{ owner: 'a', record: true, section: true, rumour: false }])
  })

  t.test('equal numbers with another content are two nodes of one identity: each must see the other', async (t) => {
    const { wanted, give } = plan([digest('a')], [digest('a', { recordCheck: 12 })])
    t.same(wanted, ['a'])
    t.same(give, [{ owner: 'a', record: true, section: false, rumour: false }])
  })
})
