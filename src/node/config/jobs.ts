import { messageOf } from '../../base/error.ts'
import { readCadence } from '../../process/index.ts'
import type { Report } from './fault.ts'
import type { Path } from './place.ts'
import { find, keyPlaceOf, placeOf, type Tree } from './tree.ts'

/** Keys about being kept running, which a job is not. */
const OF_SERVICES: readonly (readonly [key: string, instead: string])[] = [
  ['activation', 'a job runs when it is asked to, or at its times'],
  ['idle', 'a job ends by itself'],
  ['replicas', 'a job has runs; job.concurrency says how many at the same time'],
  ['watch', 'a run goes on with what it began with'],
]

/**
 * Reports keys that mean nothing for jobs, and cron expressions that nothing can be made of. Asynchronous, because what
 * understands these is loaded only where there is one.
 */
export async function checkJobs(tree: Tree, units: readonly string[], report: Report): Promise<void> {
  for (const unit of units) {
    const above: Path = ['units', unit]
    const has = (key: string): boolean => find(tree, [...above, key]) !== undefined
    if (!has('job') && !has('schedule')) continue
    for (const [key, instead] of OF_SERVICES) {
      const path = [...above, key]
      if (has(key)) report({ place: keyPlaceOf(tree, path), path, text: `has no meaning for a job: ${instead}` })
    }
    await checkCron(tree, [...above, 'schedule'], report)
  }
}

/** A time zone that is wrong is a fault of its own; the expression is judged without one. */
async function checkCron(tree: Tree, above: Path, report: Report): Promise<void> {
  const path = find(tree, above)?.kind === 'map' ? [...above, 'cron'] : above
  const value = find(tree, path)
  if (value?.kind !== 'scalar' || typeof value.value !== 'string' || value.source.trim() === '') return
  const fault = await readCadence(value.source, 'UTC').then(() => undefined, messageOf)
  if (fault !== undefined) report({ place: placeOf(tree, path), path, text: fault })
}
