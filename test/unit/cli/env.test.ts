import { execFileSync } from 'node:child_process'
import t from 'tap'
import { shellExports } from '../../../src/cli/commands/env.ts'
import { UnitKind } from '../../../src/rpc/gen/hsu/control/v1/control_pb.ts'
import { type FakeClient, hsu, unit } from './fake-world.ts'

const describing = (environment: object, ...instances: ReturnType<typeof unit>[]): FakeClient => ({
  describeUnit: async () => ({ instances, configJson: '{}', events: [], environment }),
})

t.test('a shell takes over every value as it is', async (t) => {
  const hard = {
    PLAIN: '127.0.0.1:9470',
    EMPTY: '',
    QUOTES: `it's "quoted", 'twice'`,
    EXPANDED: '$HOME `id` $(id) \\ \\n * ~ !1',
    LINES: 'one\ntwo',
    EDGES: `'"$`,
  }
  const text = shellExports({ ...hard, 'HSU_PORT_NO-NAME': '1' })
  t.notMatch(text, 'NO-NAME', 'a name that ends the shell with an error')
  const show = `process.stdout.write(JSON.stringify(process.env))`
  const script = 'eval "$TEXT" && unset TEXT && exec "$NODE" -e "$SHOW"'
  const env = { TEXT: text, NODE: process.execPath, SHOW: show }
  const shown = JSON.parse(execFileSync('/bin/sh', ['-c', script], { env, encoding: 'utf8' })) as object
  t.match(shown, hard)
})

t.test('hsu env', async (t) => {
  const environment = { HSU_NODE: "anna's", HSU_INGRESS: '127.0.0.1:9470' }
  const client: FakeClient = { getNode: async () => ({ node: { node: 'old' }, environment }) }
  t.match(await hsu('env', { client }), {
    code: 0,
    stdout: `export HSU_INGRESS='127.0.0.1:9470'\nexport HSU_NODE='anna'\\''s'\n`,
  })
  t.same(JSON.parse((await hsu('env -o json', { client })).stdout), environment)
  const older: FakeClient = { getNode: async () => ({ node: { node: 'old' }, environment: {} }) }
  t.match(await hsu('env', { client: older }), { code: 1, stdout: '', stderr: /node old is of a version/ })
})

t.test('hsu env UNIT', async (t) => {
  const told = await hsu('env echo@edge-b', { client: describing({ PORT: '41000' }, unit()) })
  t.match(told, { code: 0, stdout: "export PORT='41000'\n" })
  t.match(told.asked, [{ method: 'describeUnit', options: { metadata: { 'hsu-node': 'edge-b' } } }])

  const eye = unit({ unit: 'eye', kind: UnitKind.UNMANAGED })
  t.match(await hsu('env eye', { client: describing({}, eye) }), { code: 1, stderr: /eye is unmanaged/ })
  const resting = describing({}, unit({ instance: '' }))
  t.match(await hsu('env echo', { client: resting }), { code: 3, stdout: '', stderr: /'hsu start echo'/ })
})
