import t from 'tap'
import { createMeshKey, formatMeshKeys, meshKeyFingerprints, parseMeshKeys } from '../../../src/node/mesh-key.ts'
import { throwsReason } from '../../support/throws-reason.ts'

t.test('a new key is read back and differs from the next', async (t) => {
  const text = createMeshKey()
  const [key, ...more] = parseMeshKeys(text, 'mesh.key')
  t.equal(key?.length, 32)
  t.same(more, [])
  t.not(createMeshKey(), text)
})

t.test('a file may hold the key before too, and words for people', async (t) => {
  const keys = [createMeshKey(), createMeshKey()].flatMap((text) => parseMeshKeys(text, ''))
  t.same(parseMeshKeys(`# of the plant in hall 7\n\n${formatMeshKeys(keys)}`, 'mesh.key'), keys)
  const [newest, before] = meshKeyFingerprints(formatMeshKeys(keys), 'mesh.key')
  t.match(newest, /^[0-9a-f]{16}$/)
  t.not(newest, before)
})

t.test('anything else is refused, naming the file', async (t) => {
  const three = createMeshKey() + createMeshKey() + createMeshKey()
  const bad = ['', 'hsu-mesh-key-v1:', 'hsu-mesh-key-v1:AAAA', Buffer.alloc(32).toString('base64'), three]
  for (const text of [...bad, `${createMeshKey()}and more`]) {
    const error = await throwsReason(t, 'CONFIG_INVALID', () => parseMeshKeys(text, '/etc/hsu/mesh.key'))
    t.match(error?.message, /^\/etc\/hsu\/mesh\.key: /)
  }
})
