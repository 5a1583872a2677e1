import fc from 'fast-check'
import t from 'tap'
import { formatInvite, newSecret, parseInvite } from '../../../src/node/invite/invite-code.ts'
import { Invites } from '../../../src/node/invite/invites.ts'
import { parseGift } from '../../../src/node/invite/gift.ts'
import { SimClock } from '../../../src/sim/sim-clock.ts'
import { throwsReason } from '../../support/throws-reason.ts'

const ipv4 = fc.tuple(fc.ipV4(), fc.integer({ min: 1, max: 65_535 })).map(([host, port]) => `${host}:${port}`)
const secret = fc.uint8Array({ minLength: 16, maxLength: 16 })

t.test('a code is read back as it was made, in either case, with and without dashes', async (t) => {
  fc.assert(
    fc.property(secret, fc.array(ipv4, { maxLength: 2 }), (bytes, addresses) => {
      const code = formatInvite({ secret: bytes, addresses })
      for (const typed of [code, code.toLowerCase(), code.replaceAll('-', ' '), code.replaceAll('-', '')]) {
        const read = parseInvite(typed)
        if (!Buffer.from(read.secret).equals(Buffer.from(bytes))) return false
        if (read.addresses.join() !== addresses.join()) return false
      }
      return true
    }),
  )
  const one = formatInvite({ secret: newSecret(), addresses: ['10.0.0.5:9472'] })
  t.match(one, /^([0-9A-Z]{5}-){8}[0-9A-Z]{2}$/, one)
  for (const address of ['[fd00::5]:9472', '[2001:db8:1:2:3:4:5:6]:1', '[::1]:9472']) {
    t.same(parseInvite(formatInvite({ secret: newSecret(), addresses: [address] })).addresses, [address])
  }
})

t.test('what is no code is said to be none, whatever it is', async (t) => {
  for (const text of ['', 'x', '-', 'HELLO', 'U'.repeat(42), 'A'.repeat(10_000)]) {
    await throwsReason(t, 'USAGE', () => parseInvite(text))
  }
  const code = formatInvite({ secret: newSecret(), addresses: ['10.0.0.5:9472'] })
  const wrong = Array.from(code, (digit, at) => `${code.slice(0, at)}${digit === '7' ? '8' : '7'}${code.slice(at + 1)}`)
  const passed = wrong.filter((text) => {
    try {
      parseInvite(text)
      return true
    } catch {
      return false
    }
  })
  t.ok(passed.length < 2, 'a wrong digit is noticed')
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      try {
        parseGift(bytes)
        return false
      } catch (error) {
        return (error as { reason?: string }).reason === 'USAGE'
      }
    }),
  )
})

t.test('an invitation is over after its time, its uses, or five failures, and there are at most 16', async (t) => {
  const clock = new SimClock()
  const invites = new Invites(clock)
  const twice = invites.create(1_000, 2)
  t.ok(invites.use(twice))
  t.ok(invites.use(twice))
  t.notOk(invites.use(twice))
  const guessed = invites.create(1_000, 1)
  t.same(
    [1, 2, 3, 4, 5].map(() => invites.failed(guessed)),
    [false, false, false, false, true],
  )
  t.notOk(invites.use(guessed))
  const late = invites.create(1_000, 1)
  await clock.advance(999)
  t.same(invites.open(), [late])
  await clock.advance(1)
  t.notOk(invites.use(late))
  for (let count = 0; count < 16; count += 1) invites.create(1_000, 1)
  await throwsReason(t, 'LIMIT_EXCEEDED', () => invites.create(1_000, 1))
})
