import type { MessageInitShape } from '@bufbuild/protobuf'
import { createWake } from '../base/wake.ts'
import type { CallContext, ServiceSchema, WatchServicesResponseSchema } from '../rpc/index.ts'
import type { NodeCore } from './node-core.ts'
import type { WorldView } from './world-view.ts'

type Service = MessageInitShape<typeof ServiceSchema>
type Step = MessageInitShape<typeof WatchServicesResponseSchema>

/** What the control API tells of what the mesh offers. */
export function serviceHandlers(core: NodeCore) {
  return {
    async listServices() {
      return { services: core.services() }
    },
    watchServices: ({ services }: { services: readonly string[] }, { signal }: CallContext) =>
      watchServices(core, services, signal),
  }
}

/** Holds nothing for a slow reader but that there is news; what it then reads is the state of that moment. */
export async function* watchServices(
  core: { readonly services: () => Service[]; readonly world: Pick<WorldView, 'changes'> },
  wanted: readonly string[],
  signal: AbortSignal,
): AsyncGenerator<Step, void> {
  const wake = createWake()
  const unsubscribe = core.world.changes.subscribe(wake.notify)
  signal.addEventListener('abort', wake.notify)
  try {
    let known = new Map<string, string>()
    let isFirst = true
    while (!signal.aborted) {
      const now = core.services().filter(({ service = '' }) => wanted.length === 0 || wanted.includes(service))
      const next = new Map(now.map((service) => [service.service ?? '', textOf(service)]))
      const services = now.filter(({ service = '' }) => known.get(service) !== next.get(service))
      const removed = [...known.keys()].filter((service) => !next.has(service))
      known = next
      if (isFirst || services.length > 0 || removed.length > 0) yield { services, removed }
      isFirst = false
      await wake.wait()
    }
  } finally {
    signal.removeEventListener('abort', wake.notify)
    unsubscribe()
  }
}

/** All of a service that counts as a change of it. */
function textOf({ endpoints = [] }: Service): string {
  return JSON.stringify(endpoints.map((endpoint) => ({ ...endpoint, inFlight: 0 })))
}
