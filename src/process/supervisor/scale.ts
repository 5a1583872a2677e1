import { HsuError } from '../../base/error.ts'
import { isRunBeside } from '../jobs/lanes.ts'
import { isJob } from '../jobs/terms.ts'
import type { UnitSpec } from '../launch.ts'

/** Refuses a number of replicas that a unit cannot have. @throws HsuError `USAGE` */
export function checkScale({ name, config }: UnitSpec, replicas: number): void {
  if (isJob(config)) throw new HsuError('USAGE', `unit '${name}' is a job: it has runs, not replicas`)
  if (!Number.isInteger(replicas) || replicas < 0 || isRunBeside(replicas - 1)) {
    throw new HsuError('USAGE', 'replicas must be a whole number from 0 to 1000')
  }
  const fixed = Object.entries(config.ports).find(([, port]) => port !== 'auto')
  if (replicas <= 1 || fixed === undefined) return
  throw new HsuError('USAGE', `unit '${name}' has the fixed port '${fixed[0]}'; make it 'auto' to run several replicas`)
}
