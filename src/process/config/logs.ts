import { z } from 'zod'
import { size } from '../../base/schema.ts'

export const logs = z.strictObject({
  max_size: size.prefault('10MiB').describe('Size at which a new file is begun'),
  keep: z.int().min(1).max(1_000).default(5).describe('Files to keep'),
})
