import t from 'tap'
import { createMeshKey, parseMeshKey } from '../../../src/node/mesh-key.ts'
import { throwsReason } from '../../support/throws-reason.ts'

t.test('a new key is read back and differs from the next', async (t) => {
  const text = createMeshKey()
  const key = parseMeshKey(text, 'mesh.key')
  t.equal(key.length, 32)
  t.not(createMeshKey(), text)
})

t.test('anything else is refused, naming the file', async (t) => {
  for (const text of ['', 'hsu-mesh-key-v1:', 'hsu-mesh-key-v1:AAAA', Buffer.alloc(32).toString('base64')]) {
    const error = await throwsReason(t, 'CONFIG_INVALID', () => parseMeshKey(text, '/etc/hsu/mesh.key'))
    t.match(error?.message, /^\/etc\/hsu\/mesh\.key: /)
  }
})
