import { z } from 'zod'
import { unitShape } from '../../src/process/config.ts'
import type { UnitSpec } from '../../src/process/launch.ts'

const schema = z.strictObject(unitShape)

/** A unit as the configuration file would have it, defaults filled in. */
export function unitSpec(name: string, raw: z.input<typeof schema>, baseDir = '/'): UnitSpec {
  return { name, config: schema.parse(raw), baseDir, variables: { nodeName: 'node-a', dataDir: '/data' } }
}
