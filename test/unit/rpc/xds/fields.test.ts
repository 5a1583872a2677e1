import { readFileSync } from 'node:fs'
import t from 'tap'
import { FIELDS, FULL_NAMES, type MessageName } from '../../../../src/rpc/xds/fields.ts'
import { fixture } from '../../../support/paths.ts'

/** What the real protos say; test/netns/xds-clients.test.ts compares this file with them. */
type Facts = Readonly<
  Record<string, Readonly<Record<string, readonly [number: number, type: string, repeated: boolean]>>>
>

const REAL = JSON.parse(readFileSync(fixture('xds-fields.json'), 'utf8')) as Facts

const SCALARS: Readonly<Record<string, string>> = {
  u32: 'uint32',
  u64: 'uint64',
  i32: 'int32',
  i64: 'int64',
}

t.test('each field is that of the real protos: number, type, cardinality', async (t) => {
  for (const [name, fields] of Object.entries(FIELDS)) {
    const full = FULL_NAMES[name as MessageName]
    const real = REAL[full]
    if (real === undefined) {
      t.fail(`${full} is not in test/fixtures/xds-fields.json`)
      continue
    }
    for (const [field, [number, type, mode]] of Object.entries(fields) as [string, [number, string, string?]][]) {
      const wanted = type in FULL_NAMES ? FULL_NAMES[type as MessageName] : (SCALARS[type] ?? type)
      t.same([number, wanted, mode === 'list'], real[field], `${full}.${field}`)
    }
  }
})
