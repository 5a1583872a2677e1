import { systemLoopDelay } from '../../base/system-loop-delay.ts'
import type { CallRow, FaultRow } from '../../rpc/index.ts'
import type { InstanceStatus, Usage } from '../../process/index.ts'
import { countByState, createMetricsPage, type MetricsPage, type Observed } from './metrics.ts'
import { type AdminConfig, type AdminSeams, type AdminServer, type Answer, createAdminServer } from './server.ts'

/** What the admin pages tell about. */
export interface AdminSource {
  readonly node: Observed['node']
  instances(): readonly InstanceStatus[]
  /** Of the node itself. */
  usage(): Promise<Usage | undefined>
  calls(): Promise<readonly CallRow[]>
  faults(): Promise<readonly FaultRow[]>
  isStopping(): boolean
}

/** `GET /metrics` for Prometheus and `GET /healthz` for load balancers and supervisors of the node. */
export function createAdmin(seams: AdminSeams, config: AdminConfig, source: AdminSource): AdminServer {
  const loopDelay = systemLoopDelay()
  let page: Promise<MetricsPage> | undefined

  async function metrics(): Promise<Answer> {
    const { contentType, render } = await (page ??= createMetricsPage())
    const { node } = source
    const [usage, calls, faults] = await Promise.all([source.usage(), source.calls(), source.faults()])
    const observed = { node, instances: source.instances(), usage, calls, faults, loopDelay: loopDelay.read() }
    return { status: 200, contentType, body: await render(observed) }
  }

  const server = createAdminServer(seams, config, { '/metrics': metrics, '/healthz': async () => health(source) })
  return {
    ...server,
    async stop() {
      loopDelay.stop()
      await server.stop()
    },
  }
}

/** Healthy from the moment all doors are open until the node is asked to stop. What a unit does is not the node's health. */
function health(source: AdminSource): Answer {
  const { name, version } = source.node
  const status = source.isStopping() ? 'stopping' : 'ok'
  const body = JSON.stringify({ status, node: name, version, units: countByState(source.instances()) })
  return { status: status === 'ok' ? 200 : 503, contentType: 'application/json', body: `${body}\n` }
}
