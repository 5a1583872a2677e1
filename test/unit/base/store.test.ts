import { mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as setImmediatePromise } from 'node:timers/promises'
import t from 'tap'
import { fileStore } from '../../../src/base/file-store.ts'
import { readJson, writeJson } from '../../../src/base/store.ts'
import { storeContract } from '../../contract/store.ts'
import { memoryLog } from '../../support/memory-log.ts'
import { simStore } from '../../../src/sim/sim-store.ts'

t.test('the file store keeps the contract', (t) =>
  storeContract(t, (t) => {
    const root = t.testdir()
    return { store: fileStore(root), reopen: () => fileStore(root) }
  }),
)

t.test('the simulated store keeps the contract', (t) =>
  storeContract(t, () => {
    const disk = new Map<string, Uint8Array>()
    return { store: simStore(disk), reopen: () => simStore(disk) }
  }),
)

t.test('files are private and a crash in the middle of a write leaves the old value', async (t) => {
  const root = t.testdir()
  const store = fileStore(root)
  await writeJson(store, 'secret/key.json', { value: 1 })
  t.equal(statSync(join(root, 'secret/key.json')).mode & 0o777, 0o600)
  t.equal(statSync(join(root, 'secret')).mode & 0o777, 0o700)
  writeFileSync(join(root, 'secret/key.json.tmp'), '{"value": 2') // what a crash leaves behind
  t.same(await readJson(store, 'secret/key.json', (raw) => raw, memoryLog()), { value: 1 })
  t.same(await store.list(''), ['secret/key.json'])
})

t.test('a damaged file is set aside and reported, and reads as absent', async (t) => {
  const root = t.testdir({ 'node.json': '{"incarnation": 7' })
  const log = memoryLog()
  t.equal(await readJson(fileStore(root), 'node.json', (raw) => raw, log), undefined)
  t.same(readdirSync(root), ['node.json.corrupt-1'])
  t.match(log.entries, [{ level: 'error', fields: { key: 'node.json', aside: 'node.json.corrupt-1' } }])
})

t.test('what is listed is there although other directories come and go meanwhile', async (t) => {
  const root = t.testdir()
  const store = fileStore(root)
  await store.put('units/api/0.json', new Uint8Array([1]))
  const over = new AbortController()
  const churn = (async () => {
    for (let round = 0; !over.signal.aborted; round += 1) {
      for (let n = 0; n < 20; n += 1) mkdirSync(join(root, 'units', `x${n}`, 'deep', `${round}`), { recursive: true })
      await setImmediatePromise()
      for (let n = 0; n < 20; n += 1) rmSync(join(root, 'units', `x${n}`), { recursive: true })
      await setImmediatePromise()
    }
  })()
  for (let round = 0; round < 25; round += 1) t.same(await store.list('units/'), ['units/api/0.json'])
  over.abort()
  await churn
})
