import { create, type MessageInitShape } from '@bufbuild/protobuf'
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt'
import t from 'tap'
import { repairFiles } from '../../../src/rpc/repair-files.ts'

const file = (init: MessageInitShape<typeof FileDescriptorProtoSchema>) => create(FileDescriptorProtoSchema, init)

t.test('a relative name is found in the innermost scope that has it', async (t) => {
  const names = ['Inner', 'Outer', 'Far', 'other.Thing', '.a.b.Outer', 'Missing', '']
  const own = file({
    name: 'own.proto',
    package: 'a.b',
    messageType: [
      {
        name: 'Outer',
        field: names.map((typeName, index) => ({ name: `field_${index}`, typeName })),
        nestedType: [{ name: 'Inner', nestedType: [{ name: 'Outer' }], field: [{ name: 'x', typeName: 'Outer' }] }],
      },
      { name: 'Inner' },
    ],
    service: [{ name: 'S', method: [{ name: 'M', inputType: 'Outer', outputType: 'Outer.Inner' }] }],
  })
  const parent = file({ name: 'parent.proto', package: 'a', enumType: [{ name: 'Far' }] })
  repairFiles([own, parent], (typeName) => (typeName === 'other.Thing' ? 'other.proto' : undefined))

  const [outer] = own.messageType
  t.same(
    outer?.field.map(({ typeName }) => typeName),
    ['.a.b.Outer.Inner', '.a.b.Outer', '.a.Far', '.other.Thing', '.a.b.Outer', 'Missing', ''],
  )
  t.equal(outer?.nestedType[0]?.field[0]?.typeName, '.a.b.Outer.Inner.Outer', 'its own inner one comes first')
  t.match(own.service[0]?.method[0], { inputType: '.a.b.Outer', outputType: '.a.b.Outer.Inner' })
  t.same(own.dependency, ['parent.proto', 'other.proto'], 'each file that is used is imported once')
  t.same(parent.dependency, [])
})

t.test('JSON names are added where they are missing, and only there', async (t) => {
  const own = file({ messageType: [{ field: [{ name: 'rss_bytes' }, { name: 'x', jsonName: 'custom' }] }] })
  repairFiles([own], () => undefined)
  t.same(
    own.messageType[0]?.field.map(({ jsonName }) => jsonName),
    ['rssBytes', 'custom'],
  )
})
