import t from 'tap'
import { featuresKey, featuresOf } from '../../../../src/rpc/xds/client-features.ts'

t.test('what a client may be told depends on what it says it is', async (t) => {
  const cases: [agent: string, version: string, features: string][] = [
    ['gRPC Go', '1.75.0', 'routes ringHash leastRequest outlierDetection timeouts'],
    ['gRPC Go', '1.72.2', 'routes ringHash outlierDetection timeouts'],
    ['gRPC Go', '1.73.0-dev', 'routes ringHash leastRequest outlierDetection timeouts'],
    ['gRPC Go', '1.41.0', 'routes ringHash timeouts'],
    ['gRPC Go', '1.40.9', 'routes timeouts'],
    ['gRPC C-core linux', 'C-core 56.0.0', 'routes ringHash outlierDetection'],
    ['gRPC C-core linux', 'C-core 31.0.0', 'routes ringHash outlierDetection'],
    ['gRPC C-core linux', 'C-core 29.0.0', 'routes'],
    ['gRPC Node Pure JS', '1.14.1', 'routes ringHash outlierDetection timeouts'],
    ['gRPC Node Pure JS', '1.9.2', 'routes outlierDetection timeouts'],
    ['gRPC Java', '1.70.0', 'routes ringHash outlierDetection timeouts'],
    ['gRPC Java', '1.40', 'routes timeouts'],
    ['gRPC Go', '', 'routes'],
    ['something else', '9.9.9', 'routes'],
    ['', '', 'routes'],
    ['hsu-resolver', '', 'pipes'],
  ]
  for (const [user_agent_name, user_agent_version, wanted] of cases) {
    const features = featuresOf({ user_agent_name, user_agent_version })
    const has = Object.entries(features).flatMap(([name, value]) => (value === true ? [name] : []))
    t.equal(has.join(' '), wanted, `${user_agent_name} ${user_agent_version}`)
  }
})

t.test('features that differ have keys that differ', async (t) => {
  const { routes, ...rest } = featuresOf({ user_agent_name: 'gRPC Go', user_agent_version: '1.75.0' })
  const all = Object.keys(rest).map((name) => featuresKey({ routes, ...rest, [name]: name === 'pipes' }))
  t.equal(new Set(all).size, all.length)
})
