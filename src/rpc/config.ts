import * as z from 'zod'
import { type DeepReadonly, duration } from '../base/schema.ts'

/** The keys of a unit's `route`: how calls are spread over its instances. */
export const routeShape = {
  policy: z
    .enum(['least-request'], { error: 'must be least-request; this version has no other policy' })
    .default('least-request')
    .describe('least-request = of two instances taken at random, the one with fewer calls in flight'),
  prefer: z
    .enum(['host', 'none'])
    .default('host')
    .describe('host = instances on the host of the caller first; none = all are equal'),
  retries: z
    .int()
    .min(0)
    .max(5)
    .default(2)
    .describe('How many more instances are tried when a call certainly reached none; 0 = none'),
  timeout: duration.optional().describe('Time a call may take when its caller sets no deadline. Default: no limit'),
} as const

const route = z.strictObject(routeShape)

/** How calls to one unit are routed; times in ms. */
export type RouteConfig = DeepReadonly<z.output<typeof route>>

/** What holds for a unit that says nothing. */
export const DEFAULT_ROUTE: RouteConfig = route.parse({})
