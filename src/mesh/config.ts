import * as z from 'zod'
import { duration } from '../base/schema.ts'
import { checkTiming, TimingConfig } from './timing.ts'

export { lan, type MeshTiming } from './presets.ts'

const MIN_CERTIFICATE_MS = 600_000
const MAX_CERTIFICATE_MS = 3_650 * 86_400_000

/** The `mesh` section of the node's config file. Unknown keys are errors: a typo must not pass for a default. */
export const MeshConfig = z
  .strictObject({
    name: z
      .string()
      .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, 'must be lower-case letters, digits and dashes, at most 63')
      .describe('Name of the mesh, for people'),
    key_file: z.string().min(1).describe('File with the 32-byte mesh key; `hsu mesh create` makes it'),
    discovery: z
      .strictObject({
        mdns: z.boolean().default(true).describe('Find other nodes by multicast DNS'),
        seeds: z
          .array(
            z.string().regex(/^(\[[0-9a-fA-F:.]+\]|[^\s:[\]]+):\d{1,5}$/, 'must be host:port, such as "10.0.0.5:9471"'),
          )
          .max(64)
          .default([])
          .describe('Mesh addresses to try for ever, host:port'),
        interfaces: z
          .array(z.string().min(1))
          .max(64)
          .optional()
          .describe('Network interfaces, by name or address, to find others on; default: every usable one'),
      })
      .prefault({})
      .describe('How other nodes are found; any one way suffices'),
    preset: z
      .enum(['lan', 'local', 'wan'])
      .default('lan')
      .describe(
        'Timing of failure detection: lan = hosts on one network, local = nodes on one machine, wan = several places',
      ),
    timing: TimingConfig,
    certificate_lifetime: duration
      .refine((ms) => ms >= MIN_CERTIFICATE_MS && ms <= MAX_CERTIFICATE_MS, 'must be 10m to 3650d')
      .prefault('365d')
      .describe(
        'How long a certificate of the links is valid; it is replaced while the node runs after two thirds of that',
      ),
  })
  .superRefine(({ preset, timing }, context) => {
    for (const { key, message } of checkTiming(preset, timing)) {
      context.addIssue({ code: 'custom', path: ['timing', key], message })
    }
  })
  .describe('The mesh this node belongs to; absent: this host alone')

/** The `mesh` section after parsing, with all defaults. */
export type MeshConfig = z.output<typeof MeshConfig>
