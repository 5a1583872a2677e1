import type { ProcessHost } from '../host.ts'
import { meansOf } from './means.ts'
import { type LimitMode, NEITHER, USAGE } from './plan.ts'
import { RESOURCES, type Resource } from './resources.ts'

/** How a limit would be seen to on this host. */
export interface LimitSupport {
  readonly resource: Resource
  readonly mode: LimitMode
  /** By what, or why not. */
  readonly by: string
}

/** What this host can do about each kind of limit. */
export async function limitSupport(host: ProcessHost): Promise<readonly LimitSupport[]> {
  const { kernel, watchable } = await meansOf(host)
  return RESOURCES.map((resource) => {
    const by = kernel.enforces.get(resource)
    if (by !== undefined) return { resource, mode: 'enforced', by }
    if (watchable.has(resource)) return { resource, mode: 'watched', by: USAGE }
    return { resource, mode: 'unsupported', by: NEITHER }
  })
}
