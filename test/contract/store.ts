import type { Test } from 'tap'
import type { Store } from '../../src/base/store.ts'
import { throwsReason } from '../support/throws-reason.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

/** What every `Store` must do. `reopen` gives a second store over the same data, as after a restart. */
export async function storeContract(t: Test, open: (t: Test) => { store: Store; reopen: () => Store }): Promise<void> {
  t.test('an absent key is undefined, and deleting it is no error', async (t) => {
    const { store } = open(t)
    t.equal(await store.get('a/b.json'), undefined)
    await store.delete('a/b.json')
  })

  t.test(
    'what was put is read back whole, by the next store too, whether or not it would outlive the power',
    async (t) => {
      for (const outlives of [undefined, 'power', 'process'] as const) {
        const { store, reopen } = open(t)
        await store.put('a/b.json', bytes('one, which is longer'), outlives)
        await store.put('a/b.json', bytes('two'), outlives)
        t.same(await store.get('a/b.json'), Buffer.from('two'))
        t.same(await reopen().get('a/b.json'), Buffer.from('two'))
      }
    },
  )

  t.test('keys are listed by prefix, sorted, without half-written ones', async (t) => {
    const { store } = open(t)
    for (const key of ['units/b.json', 'units/a.json', 'peers.json']) await store.put(key, bytes('{}'))
    t.same(await store.list('units/'), ['units/a.json', 'units/b.json'])
    t.same(await store.list(''), ['peers.json', 'units/a.json', 'units/b.json'])
    await store.delete('units/a.json')
    t.same(await store.list('units/'), ['units/b.json'])
  })

  t.test('setting aside keeps every damaged value', async (t) => {
    const { store } = open(t)
    for (const text of ['first', 'second']) {
      await store.put('node.json', bytes(text))
      t.equal(await store.setAside('node.json'), `node.json.corrupt-${text === 'first' ? 1 : 2}`)
      t.equal(await store.get('node.json'), undefined)
    }
    t.same(await store.get('node.json.corrupt-1'), Buffer.from('first'))
    t.same(await store.get('node.json.corrupt-2'), Buffer.from('second'))
  })

  t.test('a key that would leave the store is refused', async (t) => {
    const { store } = open(t)
    for (const key of ['../x', '/x', 'a//b', '', 'a/..']) {
      await throwsReason(t, 'INTERNAL', () => store.put(key, bytes('x')))
    }
  })
}
